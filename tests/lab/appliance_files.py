"""The appliance's and the egress nodes' configuration in the lab, rendered from the topology: keys and TOML files."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.lab import names, rpki, state, topology, web
from tests.lab.addresses import network
from tests.lab.model import Egress
from tests.lab.places import ECHO_PORT, Delays

USERS: Final = {
    "mpicd": 64101,
    "perspective": 64102,
    "primary": 64103,
    "resolver": 64104,
    "wireguard": 64105,
    "api_group": 64111,
    "operator_group": 64112,
}
"""Numeric users without an entry in /etc/passwd: the lab leaves no user behind."""

EXCEPTIONS: Final = ("198.18.0.0/15", "2001:db8::/32")
TEST_NAMES: Final = ("example", "test")
"""The lab's top-level domains."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A WireGuard key pair in base64, as `wg genkey` and `wg pubkey` print it."""

    private: str
    public: str

    @classmethod
    def make(cls) -> KeyPair:
        key = X25519PrivateKey.generate()
        return cls(
            base64.b64encode(key.private_bytes_raw()).decode(),
            base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        )


def write_all(root: Path, extra: Mapping[str, Mapping[str, Any]] | None = None, delays: Delays | None = None) -> Path:
    """Make keys and files below `root`; the path of `appliance.toml`. `extra`: keys that are added to the file's tables."""
    state.write_text(routing_file(), routing_dump())
    state.write_text(registry_file(), registry_dump())
    keys = state.directory("appliance", "keys", mode=0o700)
    peers = []
    for index, egress in enumerate(topology.EGRESSES):
        own, far = KeyPair.make(), KeyPair.make()
        state.write_text(keys / f"{egress.code}.key", own.private + "\n", 0o600)
        state.write_text(keys / f"egress-{egress.code}.key", far.private + "\n", 0o600)
        state.write_text(root / f"egress-{egress.code}.toml", _egress(egress, index, keys, own.public))
        peers.append(_perspective(egress, index, keys, far.public))
    state.write_text(beacons_file(), json.dumps({"beacons": _beacons()}, indent=1))
    path = root / "appliance.toml"
    document = _appliance(root, peers)
    if delays is not None:
        delays.configure(document)
    for table, keys_and_values in (extra or {}).items():
        document[table] = document.get(table, {}) | keys_and_values
    state.write_text(path, toml(document))
    return path


def beacons_file() -> Path:
    """The lab's own beacons, in the form of the product's."""
    return state.STATE_DIR / "beacons.json"


def _beacons() -> list[dict[str, Any]]:
    pairs = [
        {
            "name": name,
            "operator": f"{name} operator",
            "kind": "pair",
            "valid": _side(f"{name}-valid.beacon.lab", f"{name}-valid", asn, valid),
            "invalid": _side(f"{name}-invalid.beacon.lab", f"{name}-invalid", asn, invalid),
            "source": "the lab",
        }
        for name, asn, valid, invalid in (("alpha", 65537, 40, 41), ("beta", 65538, 44, 45))
    ]
    cover = _side("cover.beacon.lab", "cover", 65540, 46) | {"site_member": "site"}
    return [*pairs, {"name": "cover", "operator": "Cover Beacon", "kind": "cover", "valid_site": "A", "invalid": cover}]


def _side(host: str, name: str, asn: int, number: int) -> dict[str, Any]:
    return {
        "url": f"https://{host}/{{nonce}}",
        "origin_asn": asn,
        "prefixes": [str(prefix) for prefix in network(number)],
        "members": {"beacon": f"{name}.beacon.lab", "site": None},
        "address_member": "ip",
    }


def routing_file() -> Path:
    """The whole routing table of the lab, as route collectors see it."""
    return state.STATE_DIR / "riswhoisdump"


def registry_file() -> Path:
    """Where the addresses of the lab's perspectives are registered."""
    return state.STATE_DIR / "nro-delegated-stats"


def registry_dump() -> str:
    """It in the form of the registries' extended statistics. Johannesburg's IPv4 addresses are registered in Europe."""
    registries = {"CH": "ripencc", "NL": "ripencc", "US": "arin", "BR": "lacnic", "ZA": "afrinic"}
    lines = ["2|nro|20261121|2|19821101|20261121|+0000\n"]
    for site in (topology.PRIMARY, *topology.EGRESSES):
        country, v4, v6 = site.place.country, site.address.v4, site.address.v6
        here = registries.get(country, "apnic")
        elsewhere = "ripencc" if site.code == "jnb" else here
        lines.append(f"{elsewhere}|{country}|ipv4|{v4}|1|20100101|assigned|{site.code}|e-stats\n")
        lines.append(f"{here}|{country}|ipv6|{v6}|128|20100101|assigned|{site.code}|e-stats\n")
    return "".join(lines)


def routing_dump() -> str:
    """It in the form of RIPE's riswhoisdump: origin, prefix, number of peers."""
    lines = [
        f"{system.asn}\t{one}\t300\n" for system in topology.SYSTEMS for prefix in system.prefixes for one in prefix
    ]
    return "% the routing table of the lab\n" + "".join(lines)


def toml(document: Mapping[str, Any]) -> str:
    """A TOML document of strings, numbers, booleans, lists of them, tables and lists of tables."""
    return "".join(_tables(document, ""))


def _tables(table: Mapping[str, Any], prefix: str) -> list[str]:
    nested = {key: value for key, value in table.items() if _is_table(value)}
    lines = [f"{key} = {_value(value)}\n" for key, value in table.items() if key not in nested]
    for key, value in nested.items():
        name = f"{prefix}{key}"
        for entry in value if isinstance(value, list) else [value]:
            lines.append(f"\n[[{name}]]\n" if isinstance(value, list) else f"\n[{name}]\n")
            lines += _tables(entry, f"{name}.")
    return lines


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _value(value: object) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    return json.dumps(str(value))


def _place(place: Any) -> dict[str, Any]:
    return {"city": place.city, "country": place.country, "latitude": place.latitude, "longitude": place.longitude}


def _inner(index: int, end: int) -> tuple[str, str]:
    """Inner addresses of tunnel `index`: end 1 is the egress node's, ends 2 and 3 the appliance's, one for each key."""
    return f"10.77.{index}.{end}", f"fd77:{index:x}::{end}"


def _appliance(root: Path, perspectives: list[dict[str, Any]]) -> dict[str, Any]:
    primary = topology.PRIMARY
    return {
        "state_directory": root / "state",
        "runtime_directory": root / "run",
        "wireguard_go_launcher": "spawn",
        "users": USERS,
        "primary": {
            "kind": "local",
            "code": primary.code,
            "place": _place(primary.place),
            "netns": topology.appliance_namespaces()[primary.code],
            "link": "macvlan",
            "interface": "primary0",
            "uplink": primary.interface,
            "addresses": [f"{primary.address.v4}/24", f"{primary.address.v6}/64"],
            "gateways": list(primary.gateway),
            "origin_asn": primary.origin_asn,
        },
        "perspectives": perspectives,
        "resolver": {
            "trust_anchor_file": names.trust_anchor_file(),
            "root_hints": names.root_hints_file(),
        },
        "targets": {
            "special_purpose_exceptions": list(EXCEPTIONS),
            "special_use_exceptions": list(TEST_NAMES),
            "user_agent": "mpic-appliance (lab)",
        },
        "anchors": [{"url": f"https://{anchor.host}/", "ca_file": web.anchor_ca_file()} for anchor in topology.ANCHORS],
        "routing": {"files": [routing_file()], "registry_files": [registry_file()]},
        "caa": {"issuer_domains": [topology.CA_DOMAIN]},
        # The lab is to run on any machine, also where nothing synchronises the clock.
        "clock": {"require_synchronised": False},
        "limits": {"probe_interval_s": 1.0},
        "rov": {
            "vrp_file": rpki.vrp_file(),
            "beacons_file": beacons_file(),
            "ca_file": web.anchor_ca_file(),
            "schedule": False,
            "valid_limit_s": 3.0,
            "invalid_limit_s": 2.0,
            "enrolment_interval_s": 0.0,
            "window_rounds": 10,
            "dead_retry_s": 30.0,
        },
        "api": {"socket": root / "run" / "api.sock", "operator_socket": root / "run" / "operator.sock"},
    }


def _perspective(egress: Egress, index: int, keys: Path, public_key: str) -> dict[str, Any]:
    return {
        "code": egress.code,
        "netns": topology.appliance_namespaces()[egress.code],
        "provider": egress.provider,
        "upstreams": list(egress.upstream_asns),
        "origin_asn": egress.origin_asn,
        "attested_on": (datetime.now(UTC).date() - timedelta(days=30)).isoformat(),
        "egress_addresses": list(egress.address),
        "place": _place(egress.place),
        "wireguard": {
            "interface": f"wg-{egress.code}",
            "private_key_file": keys / f"{egress.code}.key",
            "public_key": public_key,
            "endpoint": f"{egress.address.v4}:{egress.endpoint_port}",
            "listen_port": 51900 + index,
            "addresses": [f"{_inner(index, 2)[0]}/32", f"{_inner(index, 2)[1]}/128"],
            "second_addresses": [f"{_inner(index, 3)[0]}/32", f"{_inner(index, 3)[1]}/128"],
            "peer_addresses": list(_inner(index, 1)),
        },
    }


def _egress(egress: Egress, index: int, keys: Path, public_key: str) -> str:
    """`egress.toml` of one node. Its interface's name is unique on the machine: namespaces do not part UAPI sockets."""
    return toml(
        {
            "special_purpose_exceptions": list(EXCEPTIONS),
            "echo": {"port": ECHO_PORT},
            "uplink": {"interface": "uplink0", "egress_addresses": list(egress.address)},
            "interfaces": [
                {
                    "name": f"eg-{egress.code}",
                    "listen_port": egress.endpoint_port,
                    "private_key_file": keys / f"egress-{egress.code}.key",
                    "addresses": list(_inner(index, 1)),
                    "peers": [{"name": "appliance", "public_key": public_key, "addresses": list(_inner(index, 2))}],
                }
            ],
        }
    )
