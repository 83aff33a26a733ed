"""Where the hostile servers are: in a network of the lab that has no other servers."""

from __future__ import annotations

from typing import Final

from tests.lab.addresses import host
from tests.lab.model import Address

NAMESPACE: Final = "straits-lab"
ZONE: Final = "hostile.check.test"
"""Delegated to `DNS` by `tests/conformance/extra/zones/check.test.zone`."""

DNS: Final = host(6, 53)
SERVERS: Final[dict[str, Address]] = {
    kind: host(6, 54 + index)
    for index, kind in enumerate(
        (
            "silent", "mute", "dead", "garbage", "wrong-id", "tcp-stall", "tcp-close", "truncated", "refused", "servfail",
            "notimp", "formerr", "no-caa", "late-caa", "no-edns", "closed", "udp-drops", "udp-refuses",
        )
    )
}  # fmt: skip
"""Zones below `ZONE` with a name server of their own, which does as their first label says to every question: what
resolvers learn of one that is bad must not be held against the others. At "closed" nobody listens."""
WEB: Final = host(6, 10)
"""Every name of the zone that has no other address; behaves as the request's Host says."""

TLS: Final[dict[str, Address]] = {
    name: host(6, 20 + index)
    for index, name in enumerate(
        (
            "tls-stall", "tls-garbage", "tls-then-stall", "tls-many-names", "tls-reset", "tls-drip", "alpn",
            "alpn-digest", "alpn-names", "alpn-lax", "alpn-address", "alpn-issued", "alpn-none", "tls-renegotiate",
            "tls-endless-head", "tls-endless-names", "tls-tickets",
        )
    )
}  # fmt: skip
"""By the first label of the name; port 443 behaves as it says."""

SPECIAL: Final[dict[str, str]] = {
    "s-loopback": "127.0.0.1",
    "s-this": "0.0.0.0",
    "s-private": "192.168.0.1",
    "s-shared": "100.64.0.1",
    "s-link": "169.254.169.254",
    "s-multicast": "224.0.0.1",
    "s-6to4-relay": "192.88.99.1",
    "s-loopback6": "::1",
    "s-mapped": "::ffff:127.0.0.1",
    "s-compatible": "::127.0.0.1",
    "s-nat64": "64:ff9b::a9fe:a9fe",
    "s-6to4": "2002:7f00:1::1",
    "s-teredo": "2001:0:7f00:1::1",
    "s-unique-local": "fd00::1",
    "s-link6": "fe80::1",
    "s-multicast6": "ff02::1",
    "s-documentation": "3fff::1",
}
"""Names whose only address is special-purpose."""


def kind_of(name: str) -> str:
    """The label of a name just below `ZONE`, by which servers behave; "" for any other name."""
    below, found, _ = name.lower().rstrip(".").rpartition(f".{ZONE}")
    return below.rpartition(".")[2] if found else ""


def attached() -> list[Address]:
    """Every address that the servers listen on."""
    return [DNS, *SERVERS.values(), WEB, *TLS.values()]
