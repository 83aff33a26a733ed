"""Names and addresses in the emulated machine, and the files that it has of them. Two remotes: less than a quorum.

The machine's own namespace is the appliance's host; `internet` routes and serves; each egress node is a namespace.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dns.dnssec
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm

from tests.lab.appliance_files import EXCEPTIONS, KeyPair, toml

PRIMARY: Final = "hq"
NAME: Final = "www.honest.example"
TOKEN: Final = "token-of-the-kernel-test"
KEY_AUTHORIZATION: Final = f"{TOKEN}.LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
_HERE: Final = Path(__file__).parent
_PORT: Final = 51820


@dataclass(frozen=True, slots=True)
class Net:
    """A link with the router at `.1` and `::1`."""

    number: int

    def v4(self, host: int) -> str:
        """An IPv4 address on it."""
        return f"198.18.{self.number}.{host}"

    def v6(self, host: int) -> str:
        """An IPv6 address on it."""
        return f"2001:db8:{self.number}::{host}"


@dataclass(frozen=True, slots=True)
class Remote:
    """A perspective, and its egress node at host 2 of `net`."""

    code: str
    place: dict[str, Any]
    net: Net
    own: KeyPair
    far: KeyPair

    def inner(self, end: int) -> list[str]:
        """Inner addresses: end 1 is the egress node's, 2 the appliance's."""
        return [f"10.77.{self.net.number}.{end}", f"fd77:{self.net.number}::{end}"]


SITE: Final = Net(0)
SERVERS: Final = Net(100)
HOST, MACVLAN, ROOT_SERVER, WEB, ANCHOR = 10, 20, 53, 80, 81


def remotes() -> tuple[Remote, ...]:
    """Two, with new keys."""
    amsterdam = {"city": "Amsterdam", "country": "NL", "latitude": 52.37, "longitude": 4.90}
    new_york = {"city": "New York", "country": "US", "latitude": 40.71, "longitude": -74.01}
    return (
        Remote("ams", amsterdam, Net(1), KeyPair.make(), KeyPair.make()),
        Remote("nyc", new_york, Net(2), KeyPair.make(), KeyPair.make()),
    )


def files() -> dict[str, tuple[bytes, int]]:
    """What is added to the machine's Debian, by path: content and mode."""
    both = remotes()
    made: dict[str, tuple[bytes, int]] = {
        "/etc/mpic/appliance.toml": (toml(_appliance(both)).encode(), 0o644),
        "/root/plan.json": (json.dumps(_for_the_guest(both)).encode(), 0o644),
        "/root/guest.py": ((_HERE / "guest.py").read_bytes(), 0o644),
        "/root/internet.py": ((_HERE / "internet.py").read_bytes(), 0o644),
        "/etc/systemd/system/mpic-guest.service": ((_HERE / "guest.service").read_bytes(), 0o644),
        "/etc/systemd/system/multi-user.target.d/guest.conf": (b"[Unit]\nWants=mpic-guest.service\n", 0o644),
        # An emulated processor is slow: what is well is not to be killed for it.
        **{
            f"/etc/systemd/system/{unit}.service.d/slow.conf": (b"[Service]\nWatchdogSec=0\nTimeoutStopSec=60\n", 0o644)
            for unit in ("mpicd", "mpic-tunneld", "mpic-perspective@", "mpic-resolver@")
        },
    }
    for remote in both:
        made[f"/etc/mpic/keys/{remote.code}.key"] = (f"{remote.own.private}\n".encode(), 0o600)
        made[f"/etc/mpic/keys/egress-{remote.code}.key"] = (f"{remote.far.private}\n".encode(), 0o600)
        made[f"/etc/mpic/egress-{remote.code}.toml"] = (toml(_egress(remote)).encode(), 0o644)
    trust_anchor, zone = _signed_root()
    made["/etc/mpic/root.key"] = (trust_anchor.encode(), 0o644)
    made["/etc/mpic/root.hints"] = (_hints().encode(), 0o644)
    made["/root/root.zone"] = (zone.encode(), 0o644)
    return made


def _appliance(both: tuple[Remote, ...]) -> dict[str, Any]:
    return {
        "primary": {
            "kind": "local",
            "code": PRIMARY,
            "place": {"city": "Reykjavik", "country": "IS", "latitude": 64.15, "longitude": -21.94},
            "netns": PRIMARY,
            "link": "macvlan",
            "uplink": "uplink0",
            "addresses": [f"{SITE.v4(MACVLAN)}/24", f"{SITE.v6(MACVLAN)}/64"],
            "gateways": [SITE.v4(1), SITE.v6(1)],
        },
        "perspectives": [_perspective(remote) for remote in both],
        "resolver": {"trust_anchor_file": "/etc/mpic/root.key", "root_hints": "/etc/mpic/root.hints"},
        "targets": {"special_purpose_exceptions": list(EXCEPTIONS)},
        "anchors": [{"url": "http://anchor.lab/"}],
        "caa": {"issuer_domains": ["ca.example"]},
        "clock": {"require_synchronised": False},
    }


def _perspective(remote: Remote) -> dict[str, Any]:
    return {
        "code": remote.code,
        "netns": remote.code,
        "provider": f"provider of {remote.code}",
        "upstreams": [64500 + remote.net.number],
        "origin_asn": 64510 + remote.net.number,
        "attested_on": "2026-11-01",
        "egress_addresses": [remote.net.v4(2), remote.net.v6(2)],
        "place": remote.place,
        "wireguard": {
            "interface": f"wg-{remote.code}",
            "private_key_file": f"/etc/mpic/keys/{remote.code}.key",
            "public_key": remote.far.public,
            "endpoint": f"{remote.net.v4(2)}:{_PORT}",
            "listen_port": 51900 + remote.net.number,
            "addresses": [f"{address}/{128 if ':' in address else 32}" for address in remote.inner(2)],
            "peer_addresses": remote.inner(1),
        },
    }


def _egress(remote: Remote) -> dict[str, Any]:
    return {
        "special_purpose_exceptions": list(EXCEPTIONS),
        "uplink": {"interface": "uplink0", "egress_addresses": [remote.net.v4(2), remote.net.v6(2)]},
        "interfaces": [
            {
                "name": "wg-mpic",
                "listen_port": _PORT,
                "private_key_file": f"/etc/mpic/keys/egress-{remote.code}.key",
                "addresses": remote.inner(1),
                "peers": [{"name": "appliance", "public_key": remote.own.public, "addresses": remote.inner(2)}],
            }
        ],
    }


def _for_the_guest(both: tuple[Remote, ...]) -> dict[str, Any]:
    def both_of(net: Net, host: int) -> list[str]:
        return [net.v4(host), net.v6(host)]

    return {
        "name": NAME,
        "token": TOKEN,
        "key_authorization": KEY_AUTHORIZATION,
        "primary": PRIMARY,
        "codes": [remote.code for remote in both],
        "router": both_of(SITE, 1),
        "host": both_of(SITE, HOST),
        "egress": {remote.code: both_of(remote.net, 2) for remote in both},
        "egress_router": {remote.code: both_of(remote.net, 1) for remote in both},
        "ports": [_PORT, *(51900 + remote.net.number for remote in both)],
        "servers": {
            "root": both_of(SERVERS, ROOT_SERVER),
            "web": both_of(SERVERS, WEB),
            "anchor": both_of(SERVERS, ANCHOR),
        },
    }


def _hints() -> str:
    return f". 3600 IN NS a.root.\na.root. 3600 IN A {SERVERS.v4(ROOT_SERVER)}\na.root. 3600 IN AAAA {SERVERS.v6(ROOT_SERVER)}\n"


def _signed_root() -> tuple[str, str]:
    """The trust anchor, and the root zone, which holds all names itself."""
    text = (
        "$ORIGIN .\n$TTL 1\n@ SOA a.root. hostmaster.root. 1 3600 600 86400 1\n@ 3600 NS a.root.\n"
        f"a.root. 3600 A {SERVERS.v4(ROOT_SERVER)}\na.root. 3600 AAAA {SERVERS.v6(ROOT_SERVER)}\n"
        f"{NAME}. A {SERVERS.v4(WEB)}\n{NAME}. AAAA {SERVERS.v6(WEB)}\n"
        'honest.example. CAA 0 issue "ca.example"\n'
        f"anchor.lab. A {SERVERS.v4(ANCHOR)}\nanchor.lab. AAAA {SERVERS.v6(ANCHOR)}\n"
    )
    zone = dns.zone.from_text(text, origin=".", relativize=False)
    private = ec.generate_private_key(ec.SECP256R1())
    key = dns.dnssec.make_dnskey(private.public_key(), Algorithm.ECDSAP256SHA256, 257)
    now = int(time.time())
    with zone.writer() as transaction:
        dns.dnssec.sign_zone(
            zone, transaction, keys=[(private, key)], dnskey_ttl=3600, inception=now - 86400,
            expiration=now + 86400,
        )  # fmt: skip
    return f". 3600 IN DNSKEY {key.to_text()}\n", zone.to_text(relativize=False)
