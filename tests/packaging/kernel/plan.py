"""Names and addresses in the emulated machine, and the files that it has of them.

The machine's own namespace is the appliance's host; `internet` routes and serves; the egress node is a namespace. There is
one perspective, which is asked as `mpicd` asks it: a quorum would be several times the work for an emulated processor.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

import dns.dnssec
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm

from tests.lab.appliance_files import EXCEPTIONS, TEST_NAMES, KeyPair, toml

CODE: Final = "ams"
NAME: Final = "www.honest.example"
TOKEN: Final = "token-of-the-kernel-test"
KEY_AUTHORIZATION: Final = f"{TOKEN}.LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
_HERE: Final = Path(__file__).parent
_FAR_PORT, _OWN_PORT = 51820, 51901
_SLOW: Final = "[Service]\nWatchdogSec=0\nTimeoutStartSec=infinity\nTimeoutStopSec=60\n"
_SLOW_UNITS: Final = ("mpic-egress", "mpic-egress-status", "mpic-perspective@", "mpic-resolver@", "mpic-tunneld")


@dataclass(frozen=True, slots=True)
class Net:
    """A link with the router at `.1` and `::1`."""

    number: int

    def v4(self, host: int) -> str:
        """An IPv4 address on it."""
        return f"198.18.{self.number}.{host}"

    def v6(self, host: int) -> str:
        """An IPv6 address on it."""
        return str(IPv6Address(f"2001:db8:{self.number}::{host}"))


SITE: Final = Net(0)
SERVERS: Final = Net(100)
EGRESS: Final = Net(1)
HOST, NODE, ROOT_SERVER, WEB, ANCHOR = 10, 2, 53, 80, 81


def files() -> dict[str, tuple[bytes, int]]:
    """What is added to the machine's Debian, by path: content and mode."""
    own, far = KeyPair.make(), KeyPair.make()
    trust_anchor, zone = _signed_root()
    texts = {
        "/etc/mpic/appliance.toml": toml(_appliance(far.public)),
        "/etc/mpic/egress.toml": toml(_egress(own.public)),
        "/etc/mpic/root.key": trust_anchor,
        "/etc/mpic/root.hints": _hints(),
        "/srv/root.zone": zone,
        "/srv/plan.json": json.dumps(_for_the_guest()),
        "/etc/systemd/system/multi-user.target.d/guest.conf": "[Unit]\nWants=mpic-guest.service\n",
        "/etc/systemd/system/mpic-guest.service": (_HERE / "guest.service").read_text(),
        **{f"/srv/{name}": (_HERE / name).read_text() for name in ("guest.py", "ask.py", "internet.py")},
        # An emulated processor is slow: what is well is not to be killed for it.
        **{f"/etc/systemd/system/{unit}.service.d/slow.conf": _SLOW for unit in _SLOW_UNITS},
    }
    made = {path: (text.encode(), 0o644) for path, text in texts.items()}
    made[f"/etc/mpic/keys/{CODE}.key"] = (f"{own.private}\n".encode(), 0o600)
    made["/etc/mpic/keys/egress.key"] = (f"{far.private}\n".encode(), 0o600)
    return made


def _both(net: Net, host: int) -> list[str]:
    return [net.v4(host), net.v6(host)]


def _inner(end: int) -> list[str]:
    """Inner addresses: end 1 is the egress node's, 2 the appliance's."""
    return [f"10.77.0.{end}", f"fd77::{end}"]


def _appliance(far_key: str) -> dict[str, Any]:
    return {
        "primary": {
            "kind": "caller",
            "code": "hq",
            "place": {"city": "Reykjavik", "country": "IS", "latitude": 64.15, "longitude": -21.94},
        },
        "perspectives": [_perspective(far_key)],
        "resolver": {"trust_anchor_file": "/etc/mpic/root.key", "root_hints": "/etc/mpic/root.hints"},
        "targets": {"special_purpose_exceptions": list(EXCEPTIONS), "special_use_exceptions": list(TEST_NAMES)},
        "anchors": [{"url": "http://anchor.lab/"}],
        "caa": {"issuer_domains": ["ca.example"]},
    }


def _perspective(far_key: str) -> dict[str, Any]:
    return {
        "code": CODE,
        "netns": CODE,
        "provider": "provider",
        "upstreams": [64501],
        "origin_asn": 64511,
        "attested_on": "2026-11-01",
        "egress_addresses": _both(EGRESS, NODE),
        "place": {"city": "Amsterdam", "country": "NL", "latitude": 52.37, "longitude": 4.90},
        "wireguard": {
            "interface": f"wg-{CODE}",
            "private_key_file": f"/etc/mpic/keys/{CODE}.key",
            "public_key": far_key,
            "endpoint": f"{EGRESS.v4(NODE)}:{_FAR_PORT}",
            "listen_port": _OWN_PORT,
            "addresses": [f"{address}/{128 if ':' in address else 32}" for address in _inner(2)],
            "peer_addresses": _inner(1),
            # Not "auto", by which a user-space backend would do.
            "backend": "kernel",
        },
    }


def _egress(own_key: str) -> dict[str, Any]:
    return {
        "special_purpose_exceptions": list(EXCEPTIONS),
        "uplink": {"interface": "uplink0", "egress_addresses": _both(EGRESS, NODE)},
        "interfaces": [
            {
                "name": "wg-mpic",
                "listen_port": _FAR_PORT,
                "private_key_file": "/etc/mpic/keys/egress.key",
                "addresses": _inner(1),
                "peers": [{"name": "appliance", "public_key": own_key, "addresses": _inner(2)}],
            }
        ],
    }


def _for_the_guest() -> dict[str, Any]:
    return {
        "code": CODE,
        "name": NAME,
        "token": TOKEN,
        "key_authorization": KEY_AUTHORIZATION,
        "router": _both(SITE, 1),
        "host": _both(SITE, HOST),
        "egress": _both(EGRESS, NODE),
        "egress_router": _both(EGRESS, 1),
        "ports": [_FAR_PORT, _OWN_PORT],
        "servers": {
            "root": _both(SERVERS, ROOT_SERVER),
            "web": _both(SERVERS, WEB),
            "anchor": _both(SERVERS, ANCHOR),
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
