"""Round-trip times that fit the map, for a lab that is asked for them; and nodes that are not where they claim to be.

The wire is delayed by `tests.lab.relay` in the router before each egress node and at each anchor, so that neither the
product nor the egress nodes know of it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import Any, Final

from egress.echo import keygen
from tests.lab import processes, state, topology
from tests.lab.model import Place

ECHO_PORT: Final = 51821
_BEHIND_RELAY_PORT: Final = 51822
_ECHO_UID: Final = 64106
_BIN: Final = state.RUNTIME / "bin"
_EARTH_KM: Final = 6371.0
_KM_PER_ROUND_TRIP_MS: Final = 100
# Cables do not run straight.
_DETOUR: Final = 1.3
_HOME: Final = topology.PRIMARY.place
_REDIRECT: Final = """\
table ip mpic_echo_relay {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    ip daddr {node} udp dport {port} dnat to {relay}
  }}
}}
"""


def round_trip_us(one: Place, other: Place) -> int:
    """What a ping between two places takes."""
    return round(_kilometres(one, other) / _KM_PER_ROUND_TRIP_MS * _DETOUR * 1000) + 300


def _kilometres(one: Place, other: Place) -> float:
    a, b = radians(one.latitude), radians(other.latitude)
    half = sin((b - a) / 2) ** 2 + cos(a) * cos(b) * sin(radians(other.longitude - one.longitude) / 2) ** 2
    return 2 * _EARTH_KM * asin(sqrt(min(1.0, half)))


@dataclass
class Delays:
    """Where the egress nodes really are (`moved`: those that are not where they claim), and which lose large packets.

    `machines`: the egress nodes are machines that run an `mpic-echo` of their own, and whoever asks it at its own address comes by
    the relay. Only its answers are then late, by the tunnel's time as well: what else the tunnels carry stays fast.
    """

    moved: dict[str, Place] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=dict)
    machines: bool = False

    def move(self, code: str, place: Place | None) -> None:
        """From now on the node of `code` is at `place`; None: where it claims to be."""
        self.moved.pop(code, None)
        if place is not None:
            self.moved[code] = place
        self._write()

    def drop_larger_than(self, code: str, octets: int | None) -> None:
        """From now on no larger WireGuard datagram passes to or from `code`; None: all do."""
        self.largest.pop(code, None)
        if octets is not None:
            self.largest[code] = octets
        self._write()

    def configure(self, document: dict[str, Any]) -> None:
        """Adds to `appliance.toml` what the delays need: the relays as endpoints, and every `mpic-echo` with its key."""
        for perspective, egress in zip(document["perspectives"], topology.EGRESSES, strict=True):
            perspective["wireguard"]["endpoint"] = f"{egress.gateway.v4}:{egress.endpoint_port}"
            perspective["echo"] = {
                "address": egress.gateway.v4,
                "port": ECHO_PORT,
                "public_key": keygen(_key_file(egress.code)),
            }
        document["place_anchors"] = self.anchors()
        document["limits"] = document["limits"] | {"place_interval_s": 2.0}

    def anchors(self) -> list[dict[str, Any]]:
        """The anchors that stand apart from the egress nodes."""
        return [
            {
                "name": anchor.name,
                "place": _place(anchor.place),
                "address": str(anchor.address.v4),
                "port": ECHO_PORT,
                "public_key": keygen(_key_file(anchor.name)),
            }
            for anchor in topology.ANCHORS
        ]

    def start(self) -> None:
        """Starts the relays and every `mpic-echo`, but for those of machines; the lab ends them."""
        for egress in topology.EGRESSES:
            if self.machines:
                redirect = _REDIRECT.format(node=egress.address.v4, port=ECHO_PORT, relay=egress.gateway.v4)
                processes.run(router_of(egress.code), ["nft", "-f", "-"], stdin=redirect, check=True)
            else:
                _serve(egress.namespace, egress.code, str(egress.address.v4), ECHO_PORT)
        for anchor in topology.ANCHORS:
            _serve(topology.SYSTEM_BY_NAME[anchor.system].namespace, anchor.name, "127.0.0.1", _BEHIND_RELAY_PORT)
        self._write()
        argv = [sys.executable, str(Path(__file__).with_name("relay.py")), str(_file())]
        processes.service(topology.PRIMARY.namespace, "relay", argv)

    def _write(self) -> None:
        places = {egress.code: self.moved.get(egress.code, egress.place) for egress in topology.EGRESSES}
        networks = {_network(egress.address.v4): places[egress.code] for egress in topology.EGRESSES}
        networks[_network(topology.PRIMARY.address.v4)] = _HOME
        echoes = places | {anchor.name: anchor.place for anchor in topology.ANCHORS}
        document = {
            "relays": [relay for relay in _relays() if relay["kind"] == "echo" or not self.machines],
            "tunnel_us": {code: round_trip_us(_HOME, place) for code, place in places.items()},
            "echo_us": {
                site: {network: self._echo_us(place, asker) for network, asker in networks.items()}
                for site, place in echoes.items()
            },
            "largest": self.largest,
        }
        state.write_text(_file(), json.dumps(document))

    def _echo_us(self, place: Place, asker: Place) -> int:
        way_us = round_trip_us(place, asker)
        return way_us + round_trip_us(_HOME, asker) if self.machines and asker is not _HOME else way_us


def router_of(code: str) -> str:
    """Namespace of the router before an egress node."""
    return next(topology.SYSTEM_BY_NAME[lan.router].namespace for lan in topology.LANS if lan.host == code)


def _relays() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for egress in topology.EGRESSES:
        for kind, port in (("tunnel", egress.endpoint_port), ("echo", ECHO_PORT)):
            found.append(
                {
                    "kind": kind,
                    "site": egress.code,
                    "namespace": router_of(egress.code),
                    "listen": [str(egress.gateway.v4), port],
                    "to": [str(egress.address.v4), port],
                }
            )
    found += [
        {
            "kind": "echo",
            "site": anchor.name,
            "namespace": topology.SYSTEM_BY_NAME[anchor.system].namespace,
            "listen": [str(anchor.address.v4), ECHO_PORT],
            "to": ["127.0.0.1", _BEHIND_RELAY_PORT],
        }
        for anchor in topology.ANCHORS
    ]
    return found


def _serve(namespace: str, name: str, address: str, port: int) -> None:
    keygen(_key_file(name))
    os.chown(_key_file(name), _ECHO_UID, _ECHO_UID)
    drop = ["setpriv", f"--reuid={_ECHO_UID}", f"--regid={_ECHO_UID}", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all", "--no-new-privs", "--"]  # fmt: skip
    serve = [str(_BIN / "mpic-echo"), "serve", "--address", address, "--port", str(port)]
    processes.service(namespace, f"echo-{name}", [*drop, *serve, "--key-file", str(_key_file(name))])


def _key_file(name: str) -> Path:
    return state.directory("echo") / f"{name}.key"


def _file() -> Path:
    return state.STATE_DIR / "delays.json"


def _network(address: object) -> str:
    return str(address).rpartition(".")[0]


def _place(place: Place) -> Mapping[str, object]:
    return {"city": place.city, "country": place.country, "latitude": place.latitude, "longitude": place.longitude}
