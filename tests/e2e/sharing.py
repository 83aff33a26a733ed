"""The lab's appliance shares its perspectives over mutual TLS; a second appliance, at another site, decides with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.evidence.reading import reading
from appliance.evidence.record import DecisionRecord, EventRecord, EventType, decode
from appliance.evidence.search import Filter, find
from tests.lab import Lab, names, processes, state, topology, wait_until
from tests.lab.appliance import Appliance
from tests.lab.appliance_files import TEST_NAMES, USERS, toml
from tests.lab.unix_http import Response, request
from tests.unit.api.authority import Authority, Pair

SITE: Final = topology.SYSTEM_BY_NAME["sakura"]
ADDRESS: Final = str(topology.PRIMARY.host_address.v4)
_PORT: Final = 8443
# The same perspectives at a second address: one machine under two URLs.
OTHER_PORT: Final = 8444
_USER: Final = 64122
_BIN: Final = Path(sys.executable).parent


@dataclass(frozen=True)
class Shared:
    """The appliance that shares. `authority` is the one that it trusts to vouch for partners."""

    lab: Lab
    appliance: Appliance
    authority: Authority

    def pair(self, name: str, authority: Authority | None = None, **changes: Any) -> Pair:
        """A certificate for a partner, which may read it."""
        pair = (authority or self.authority).issue(name, **changes)
        os.chown(pair.key, _USER, _USER)
        return pair

    def mpicctl(self, *arguments: str) -> str:
        """Standard output of the operator's command on the sharing side."""
        argv = [str(_BIN / "mpicctl"), "--config", str(self.appliance.config), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add(self, name: str, pair: Pair, *options: str) -> None:
        """Registers a partner."""
        self.mpicctl("client", "add", name, "--certificate", str(pair.certificate), *options)

    def curl(self, pair: Pair | None, path: str, *options: str) -> tuple[int, str]:
        """HTTP status (0: no HTTP answer) and body, as somebody at the partner's site with that certificate gets them."""
        shown = [] if pair is None else ["--cert", str(pair.certificate), "--key", str(pair.key)]
        argv = ["curl", "-s", "--max-time", "20", "--cacert", str(self.authority.certificate), *shown, *options]
        url = f"https://{ADDRESS}:{_PORT}{path}"
        done = self.lab.run(SITE.namespace, [*argv, "-w", "\n%{http_code}", url])
        body, _, status = done.stdout.rpartition("\n")
        assert (status == "000") == (done.returncode != 0)
        return int(status), body

    def until_answered(self, pair: Pair, path: str, *options: str) -> str:
        """The body of a 200, asked for again while the answer is no other than that it is too much at once."""

        def answered() -> str:
            status, body = self.curl(pair, path, *options)
            assert status in {0, 200, 429, 503}, body
            return body if status == 200 else ""

        return wait_until(answered, 60, f"an answer to {path}", 0.5)

    def events(self, kind: EventType) -> list[EventRecord]:
        """The sharing side's events of one type, the oldest first."""
        with reading(self.appliance.settings.database) as connection:
            found = [decode(one.record) for one in find(connection, Filter(kind=kind.value), whole=True)]
        return [one for one in found if isinstance(one, EventRecord)]


@contextlib.contextmanager
def sharing(lab: Lab, appliance: Appliance) -> Iterator[Shared]:
    """The lab's appliance with a listener for partners, until the end."""
    directory = state.directory("sharing")
    authority = Authority(directory)
    server = authority.issue("server", address=ADDRESS)
    os.chown(server.key, USERS["mpicd"], USERS["mpicd"])
    listener = {
        "address": ADDRESS,
        "authentication": "mutual-tls",
        "certificate_file": server.certificate,
        "private_key_file": server.key,
        "client_ca_file": authority.certificate,
    }
    before = appliance.config.read_text()
    try:
        _restart(
            appliance,
            before
            + toml({"api": {"tcp": [listener | {"port": port} for port in (_PORT, OTHER_PORT)]}}).replace(
                "[api]\n", ""
            ),
        )
        yield Shared(lab, appliance, authority)
    finally:
        _restart(appliance, before)
        shutil.rmtree(directory)


def _restart(appliance: Appliance, configuration: str) -> None:
    appliance.kill("mpicd", signal.SIGTERM)
    appliance.config.write_text(configuration)
    appliance.start_coordinator()
    wait_until(appliance.ready, 30, "the coordinator is back")
    appliance.wait_for(set(appliance.codes))


class Partner:
    """A second appliance: `mpicd` alone, whose CA validates by itself and whose remotes are all those of the first.

    `changes`: keys of its entries, by the code that a perspective has at the first. `usable`: how many can be asked then."""

    def __init__(
        self,
        shared: Shared,
        pair: Pair,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        usable: int = len(topology.EGRESSES),
    ) -> None:
        self._shared = shared
        self._changes = changes or {}
        self._usable = usable
        self._root = state.directory("sharing", "partner")
        self._stack = contextlib.ExitStack()
        self.config = self._root / "appliance.toml"
        state.write_text(self.config, toml(self._document(pair)))
        # As the service manager makes them.
        state.directory("sharing", "partner", "state", "coordinator")
        state.directory("sharing", "partner", "state", "evidence")
        for path in (self._root, *self._root.rglob("*")):
            os.chown(path, _USER, _USER)

    def __enter__(self) -> Partner:
        argv = processes.unprivileged([str(state.RUNTIME / "bin" / "mpicd"), "--config", str(self.config)], _USER)
        log = state.directory("log") / "partner.log"
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("wb"))
            process = processes.popen(
                SITE.namespace, argv, stdout=output, stderr=output, env={"PATH": os.environ["PATH"]}
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)

            def ready() -> bool:
                assert process.poll() is None, log.read_text()
                return self._socket("operator").exists() and len(self.ready_codes()) == self._usable

            wait_until(ready, 60, "the partner's appliance is ready", 0.1)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, method: str, path: str, body: object = None) -> Response:
        """One request of the partner's CA."""
        return request(self._socket("api"), method, path, body)

    def ready_codes(self) -> set[str]:
        """Codes of the perspectives that it can ask now."""
        return {code for code, reason in self.reasons().items() if not reason}

    def reasons(self) -> dict[str, str]:
        """Why each perspective cannot be used now, "" if it can."""
        status = request(self._socket("operator"), "GET", "/status").json()
        return {entry["code"]: entry["reason"] for entry in status["perspectives"]}

    def last_decision(self) -> DecisionRecord:
        """The newest decision on its disk."""
        with reading(self._root / "state" / "evidence" / "evidence.sqlite") as connection:
            [found] = find(connection, Filter(kind="decision"), newest_first=True, limit=1, whole=True)
        record = decode(found.record)
        assert isinstance(record, DecisionRecord)
        return record

    def refused_configuration(self) -> str:
        """What `mpicctl config check` and `mpicd` say of a configuration that neither takes."""
        check = [str(_BIN / "mpicctl"), "--config", str(self.config), "config", "check"]
        start = processes.unprivileged([str(state.RUNTIME / "bin" / "mpicd"), "--config", str(self.config)], _USER)
        checked = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
        started = processes.run(SITE.namespace, start)
        assert (checked.returncode, started.returncode) == (1, 78), (checked, started)
        return checked.stdout + started.stderr

    def decide(self, question: dict[str, Any]) -> dict[str, Any]:
        """The partner's decision; its own validation has passed."""
        response = self.ask("POST", "/mpic", question | {"primary_determination": {"check_passed": True}})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def verify(self) -> None:
        """The partner's own chain of evidence is whole, and its decisions follow from what it has."""
        argv = [str(_BIN / "mpicctl"), "--config", str(self.config), "evidence", "verify", "--deep", "--replay"]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)

    def _socket(self, name: str) -> Path:
        return self._root / f"{name}.sock"

    def _document(self, pair: Pair) -> dict[str, Any]:
        return {
            "state_directory": self._root / "state",
            "runtime_directory": self._root / "run",
            "users": USERS | {"mpicd": _USER, "api_group": _USER, "operator_group": _USER},
            "primary": {"kind": "caller", "code": "kix", "place": _place(SITE.place)},
            "remote_perspectives": [
                {
                    "code": f"their-{egress.code}",
                    "provider": egress.provider,
                    "upstreams": list(egress.upstream_asns),
                    "origin_asn": egress.origin_asn,
                    "egress_addresses": list(egress.address),
                    "url": f"https://{ADDRESS}:{_PORT}/perspectives/{egress.code}",
                    "certificate_file": pair.certificate,
                    "private_key_file": pair.key,
                    "ca_file": self._shared.authority.certificate,
                    "place": _place(egress.place),
                    **self._changes.get(egress.code, {}),
                }
                for egress in topology.EGRESSES
            ],
            "resolver": {"trust_anchor_file": names.trust_anchor_file()},
            "targets": {"special_use_exceptions": list(TEST_NAMES)},
            "caa": {"issuer_domains": [topology.CA_DOMAIN]},
            "clock": {"require_synchronised": False},
            "limits": {"probe_interval_s": 0.5},
            "rov": {"schedule": False},
            "api": {"socket": self._socket("api"), "operator_socket": self._socket("operator")},
        }


def _place(place: Any) -> dict[str, Any]:
    return {"city": place.city, "country": place.country, "latitude": place.latitude, "longitude": place.longitude}
