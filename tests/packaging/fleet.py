"""A CA's whole installation as bare machines: one for the appliance, one for each egress node, a control node, a repository."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tests.lab import names, rpki, state, topology, web
from tests.lab.appliance_files import EXCEPTIONS, TEST_NAMES, routing_dump
from tests.lab.model import Egress
from tests.lab.places import Delays
from tests.lab.wait import wait_until
from tests.packaging import control
from tests.packaging.container import Container
from tests.packaging.control import Control, KeyPair, Played
from tests.packaging.repository import Repository

APPLIANCE: Final = "box"
ROUTING: Final = "/etc/mpic-routing/riswhoisdump"
VRP_FILE: Final = "/var/lib/mpic-feed/vrps.json"
ECHO_KEY: Final = "/var/lib/mpic-echo/key"
_READY_S: Final = 120.0
# A round of every worker to every anchor, and the next.
_PLACES_S: Final = 60.0
_EXTRA: Final = """\
[clock]
# The lab is to run on any machine, also where nothing synchronises the clock.
require_synchronised = false

[limits]
probe_interval_s = 1.0
place_interval_s = 2.0
"""


class Fleet:
    """In a lab that is up: boots on entering; nothing of it is left on leaving.

    `nodes`: the machines by their names in the inventory. `installed`: whether `site.yml` was played.
    """

    def __init__(self, packages: Iterable[Path]) -> None:
        self._packages = list(packages)
        self._stack = contextlib.ExitStack()
        self.nodes: dict[str, Container] = {}
        self.installed = False
        self.codes = [egress.code for egress in topology.EGRESSES]

    def __enter__(self) -> Fleet:
        with contextlib.ExitStack() as stack:
            self.control = Control(state.directory("control", mode=0o700))
            served = state.directory("apt")
            self.repository = Repository(served, self.control.directory)
            stack.callback(self.repository.close)
            self.repository.publish(self._packages)
            state.write_text(served / "vrps.json", rpki.vrp_file().read_text())
            web.serve_directory("apt", control.NAMESPACE, control.ADDRESS, served)
            Delays(machines=True).start()
            machines = {APPLIANCE: topology.PRIMARY.namespace} | {one.code: one.namespace for one in topology.EGRESSES}
            containers = {
                name: Container(f"mpic-{name}", namespace, self._own_files(name))
                for name, namespace in machines.items()
            }
            with ThreadPoolExecutor() as pool:
                # Leaving one after the other would take as long as all of them together.
                stack.callback(_all_at_once, [one.close for one in containers.values()])
                list(pool.map(Container.__enter__, containers.values()))
            self.nodes = containers
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def box(self) -> Container:
        """The appliance's machine."""
        return self.nodes[APPLIANCE]

    def inventory(self) -> dict[str, Any]:
        """All of it, as the operator would have written it; the caller may change it."""
        egresses = {egress.code: _egress(egress, index) for index, egress in enumerate(topology.EGRESSES)}
        return copy.deepcopy(
            {
                "mpic": {
                    "vars": self.control.ssh_variables() | self._common(),
                    "children": {
                        "mpic_appliances": {"hosts": {APPLIANCE: _appliance()}},
                        "mpic_egresses": {"hosts": egresses},
                        "mpic_retired": {"hosts": {}},
                    },
                }
            }
        )

    def play(self, playbook: str, *options: str, variables: Mapping[str, Any] | None = None) -> Played:
        """A playbook, with the inventory as it is."""
        return self.control.play(playbook, self.inventory(), *options, variables=variables)

    def fingerprints(self) -> dict[str, str]:
        """What a play could change on each node, in short: files, firewall, processes."""
        script = """
        find /etc /var/lib/mpic/coordinator /var/lib/mpic-echo -type f 2>/dev/null | sort | xargs sha256sum | sha256sum
        nft --stateless list ruleset | grep -v 'ct count'
        systemctl show --property=Id,MainPID mpicd.service 'mpic-[prtw]*.service' ssh.service
        systemctl show --property=Id,MainPID,ActiveState mpic-echo.service mpic-feed.timer
        systemctl is-enabled mpic.target mpic-egress.service mpic-egress.timer nftables.service unbound.service || true
        """
        return {name: node.run("sh", "-c", script) for name, node in self.nodes.items()}

    def check(self, name: str = "honest.example") -> dict[str, Any] | None:
        """What `mpicctl check caa` answers on the appliance; None unless it is corroborated."""
        done = self.box.call("mpicctl", "check", "caa", name, "--json")
        if done.returncode != 0:
            return None
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def wait_for_quorum(self, quorum: str, timeout_s: float = _READY_S) -> None:
        """Returns once a check is corroborated by so many of so many remotes, as "6/6"."""

        def corroborated() -> bool:
            answer = self.check()
            return answer is not None and answer["quorum"] == quorum

        try:
            wait_until(corroborated, timeout_s, f"a check is corroborated by {quorum}", 0.5)
        except Exception as error:
            raise AssertionError(f"{error}\n{self.box.failures()}") from error

    def places(self) -> dict[str, set[str]]:
        """By code of every perspective whose place is proven, the anchors whose replies it rests on."""
        done = self.box.call("mpicctl", "perspectives", "--json")
        told = json.loads(done.stdout)["proofs"] if done.stdout else []
        found = {one["code"]: proof for one in told for proof in one["proofs"] if proof["kind"] == "place"}
        return {
            code: {name for name, _ in proof["facts"]} - {"tunnel"}
            for code, proof in found.items()
            if proof["result"] == "valid"
        }

    def wait_for_places(self, echoes: Iterable[str], codes: Iterable[str] | None = None) -> None:
        """Returns once the place of every perspective (`codes`: the egress nodes'; None: all) is proven by the echoes of these
        other nodes and by the anchors that stand apart, no more and no less."""
        apart = {anchor.name for anchor in topology.ANCHORS}
        remotes = self.codes if codes is None else codes
        wanted = {code: (set(echoes) - {code}) | apart for code in (topology.PRIMARY.code, *remotes)}
        try:
            wait_until(lambda: self.places() == wanted, _PLACES_S, "every place is proven", 0.5)
        except Exception as error:
            raise AssertionError(f"{error}\n{self.places()}\nwanted: {wanted}\n{self.box.failures()}") from error

    def echo_keys(self) -> dict[str, str]:
        """By code, the public key of the mpic-echo of each egress node, as the node tells it."""
        script = f"test -s {ECHO_KEY} && mpic-echo keygen --key-file {ECHO_KEY}"
        return {code: self.nodes[code].run("sh", "-c", script).strip() for code in self.codes}

    def _common(self) -> dict[str, Any]:
        return {
            "repository_url": f"http://{control.ADDRESS.v4}/",
            "repository_key": str(self.repository.key),
            "hardening_ssh_sources": [f"{control.ADDRESS.v4}/32"],
            "egress_ssh_sources": [f"{control.ADDRESS.v4}/32"],
            "egress_uplink": "uplink0",
            "egress_special_purpose_exceptions": list(EXCEPTIONS),
        }

    def _own_files(self, name: str) -> dict[str, tuple[bytes, int]]:
        """What an installer leaves on a new machine: host keys, the operator's key, a name; no repository of Debian's."""
        host_key = KeyPair.make(self.control.directory / f"host-{name}")
        address = topology.PRIMARY.host_address if name == APPLIANCE else _by_code(name).address
        self.control.know(str(address.v4), host_key.public)
        files = {
            "/etc/hostname": (f"{name}\n".encode(), 0o644),
            "/etc/apt/sources.list": (b"", 0o644),
            "/root/.ssh/authorized_keys": (f"{self.control.key.public}\n".encode(), 0o600),
            "/etc/ssh/ssh_host_ed25519_key": (host_key.private, 0o600),
            "/etc/ssh/ssh_host_ed25519_key.pub": (f"{host_key.public}\n".encode(), 0o644),
        }
        if name == APPLIANCE:
            files[ROUTING] = (routing_dump().encode(), 0o644)
        return files


def _by_code(code: str) -> Egress:
    return next(egress for egress in topology.EGRESSES if egress.code == code)


def _place(place: Any) -> dict[str, Any]:
    return {"city": place.city, "country": place.country, "latitude": place.latitude, "longitude": place.longitude}


def _appliance() -> dict[str, Any]:
    primary = topology.PRIMARY
    return {
        "ansible_host": str(primary.host_address.v4),
        "appliance_index": 0,
        "appliance_code": primary.code,
        "appliance_place": _place(primary.place),
        "appliance_issuer_domains": [topology.CA_DOMAIN],
        "appliance_anchors": [f"https://{anchor.host}/" for anchor in topology.ANCHORS],
        "appliance_anchor_ca": str(web.anchor_ca_file()),
        "appliance_uplink": primary.interface,
        "appliance_addresses": [f"{primary.address.v4}/24", f"{primary.address.v6}/64"],
        "appliance_gateways": [str(one) for one in primary.gateway],
        "appliance_origin_asn": primary.origin_asn,
        "appliance_special_purpose_exceptions": list(EXCEPTIONS),
        "appliance_special_use_exceptions": list(TEST_NAMES),
        "appliance_trust_anchor": str(names.trust_anchor_file()),
        "appliance_root_hints": str(names.root_hints_file()),
        "appliance_routing_files": [ROUTING],
        "appliance_place_anchors": Delays().anchors(),
        "appliance_vrp_url": f"http://{control.ADDRESS.v4}/vrps.json",
        "appliance_rov": {"schedule": False},
        "appliance_extra": _EXTRA,
    }


def _egress(egress: Egress, index: int) -> dict[str, Any]:
    return {
        "ansible_host": str(egress.address.v4),
        "egress_index": index,
        "egress_place": _place(egress.place),
        "egress_provider": egress.provider,
        "egress_upstreams": list(egress.upstream_asns),
        "egress_origin_asn": egress.origin_asn,
        "egress_attested_on": (datetime.now(UTC).date() - timedelta(days=30)).isoformat(),
        "egress_addresses": [str(one) for one in egress.address],
        "egress_listen_port": egress.endpoint_port,
    }


def _all_at_once(acts: list[Any]) -> None:
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(act) for act in acts]:
            done.result()
