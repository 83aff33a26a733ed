"""What the lab's name servers serve: the zones as values, and the delegations between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from tests.lab.addresses import host
from tests.lab.model import Address
from tests.lab.topology import ANCHORS, BEACON_SITES, CA_DOMAIN, DNS_ADDRESSES, ROOT_ADDRESS, TLD_ADDRESS, WEB_ADDRESSES

DELEGATION_TTL_S: Final = 3600
DATA_TTL_S: Final = 1  # so that what an applicant or an attacker changes is seen at once
BENCH_TTL_S: Final = 60
BENCH_VALUE: Final = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
"""What every TXT record below the benchmark's zones says: a base64url SHA-256 digest, as dns-01 has it."""

NAME_SERVER_ADDRESSES: Final = {"root": ROOT_ADDRESS, "tld": TLD_ADDRESS, **DNS_ADDRESSES}
_BOGUS_DS: Final = f"bogus {DELEGATION_TTL_S} DS 1 13 2 {'00' * 32}\n"
# Signed zones of which one's only server is silent, and the other's says SERVFAIL, where `tests.hostile` runs.
_FAILING: Final = "".join(
    f"{zone} {DELEGATION_TTL_S} NS ns.{zone}\n{zone} {DELEGATION_TTL_S} DS 1 13 2 {'00' * 32}\n"
    f"ns.{zone} {DELEGATION_TTL_S} A {address.v4}\nns.{zone} {DELEGATION_TTL_S} AAAA {address.v6}\n"
    for zone, address in (("dark", host(6, 54)), ("broken", host(6, 63)))
)
ROOT_SERVER: Final = "a.root-servers.lab."
TLD_SERVER: Final = "a.nic.lab."


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone at one of the lab's name servers; names are absolute with the final dot.

    `body` is everything in master file form but the apex SOA and NS, unless `verbatim`: then it is a whole zone that
    somebody else wrote. `copy_of`: the server whose zone the attacker imitates; nothing delegates to such a zone.
    """

    origin: str
    server: str
    name_server: str
    body: str
    signed: bool = False
    verbatim: bool = False
    copy_of: str | None = None

    def text(self, serial: int, delegations: str = "") -> str:
        """The zone's master file before signing."""
        if self.verbatim:
            return f"{self.body}\n{delegations}"
        return (
            f"$ORIGIN {self.origin}\n$TTL {DATA_TTL_S}\n"
            f"@ SOA {self.name_server} hostmaster.lab. {serial} 3600 600 86400 {DATA_TTL_S}\n"
            f"@ {DELEGATION_TTL_S} NS {self.name_server}\n"
            f"{_glue(self)}{self.body}{delegations}"
        )


def own_zones() -> list[Zone]:
    """The zones that every lab has."""
    quay, sakura, mallory = WEB_ADDRESSES["quay"], WEB_ADDRESSES["sakura"], WEB_ADDRESSES["mallory"]
    permit, forbid = f'@ CAA 0 issue "{CA_DOMAIN}"\n', '@ CAA 0 issue ";"\n'
    bench = _addresses("*", quay, BENCH_TTL_S) + f'* {BENCH_TTL_S} TXT "{BENCH_VALUE}"\n'
    anchors = "".join(_addresses(f"{anchor.host}.", anchor.address, BENCH_TTL_S) for anchor in ANCHORS)
    beacons = "".join(
        _addresses(f"{name}.", address, BENCH_TTL_S)
        for name, address in dict.fromkeys((site.host, site.address) for site in BEACON_SITES)
    )
    return [
        Zone(".", "root", ROOT_SERVER, "", signed=True),
        Zone("example.", "tld", TLD_SERVER, _BOGUS_DS + _FAILING, signed=True),
        # Its parent says that it is signed, and it is not.
        Zone("bogus.example.", "quay", "ns.quay.lab.", _addresses("www", quay)),
        Zone("lab.", "tld", TLD_SERVER, _infrastructure()),
        Zone("anchor.lab.", "tld", TLD_SERVER, anchors),
        Zone("beacon.lab.", "tld", TLD_SERVER, beacons),
        _applicant("honest.example.", "quay", quay, permit, signed=True),
        _applicant("plain.example.", "sakura", sakura, permit),
        _applicant("forbidden.example.", "quay", quay, forbid, signed=True),
        _applicant("free.example.", "quay", quay, ""),
        _applicant("mallory.lab.", "mallory", mallory, permit),
        Zone("bench.lab.", "quay", "ns.quay.lab.", f'{bench}* {BENCH_TTL_S} CAA 0 issue "{CA_DOMAIN}"\n'),
        Zone("bench-free.lab.", "quay", "ns.quay.lab.", bench),
        _false_copy("honest.example.", "quay", permit),
        _false_copy("plain.example.", "sakura", permit),
    ]


def with_tlds(zones: Iterable[Zone]) -> list[Zone]:
    """The zones, and an empty unsigned TLD for each that would otherwise have no parent but the root."""
    result = {(zone.origin, zone.copy_of): zone for zone in zones}
    for origin, copy_of in list(result):
        labels = origin.rstrip(".").split(".")
        tld = f"{labels[-1]}."
        if copy_of is None and origin != "." and len(labels) > 1 and (tld, None) not in result:
            result[tld, None] = Zone(tld, "tld", TLD_SERVER, "")
    return list(result.values())


def parent_of(zone: Zone, zones: Iterable[Zone]) -> Zone | None:
    """The closest enclosing zone among the honest ones; None for the root and for false copies."""
    if zone.copy_of or zone.origin == ".":
        return None
    enclosing = [other for other in zones if other.copy_of is None and encloses(other.origin, zone.origin)]
    return max((other for other in enclosing if other.origin != zone.origin), key=lambda other: len(other.origin))


def encloses(origin: str, name: str) -> bool:
    """Whether `name` is `origin` or below it."""
    return origin == "." or name.lower() == origin.lower() or name.lower().endswith(f".{origin.lower()}")


def delegation(zone: Zone) -> str:
    """The NS records, and glue where it is needed, that the parent holds for the zone; DS apart."""
    glue = _glue(zone) if not zone.verbatim else ""
    root_glue = _infrastructure() if zone.origin == "lab." else ""
    return f"{zone.origin} {DELEGATION_TTL_S} NS {zone.name_server}\n{glue or root_glue}"


def root_hints() -> str:
    """The root hints file for the lab's resolvers."""
    return f". {DELEGATION_TTL_S} IN NS {ROOT_SERVER}\n{_addresses(ROOT_SERVER, ROOT_ADDRESS, DELEGATION_TTL_S)}"


def _applicant(origin: str, server: str, web: Address, caa: str, *, signed: bool = False) -> Zone:
    body = _addresses("@", web) + _addresses("www", web) + caa
    return Zone(origin, server, f"ns1.{origin}", body, signed=signed)


def _false_copy(origin: str, victim: str, caa: str) -> Zone:
    return replace(_applicant(origin, "mallory", WEB_ADDRESSES["mallory"], caa), copy_of=victim)


def _glue(zone: Zone) -> str:
    """Addresses of the zone's name server, where its name is inside the zone."""
    if zone.origin == "." or not encloses(zone.origin, zone.name_server) or zone.origin == "lab.":
        return ""
    return _addresses(zone.name_server, NAME_SERVER_ADDRESSES[zone.copy_of or zone.server], DELEGATION_TTL_S)


def _infrastructure() -> str:
    names = {ROOT_SERVER: ROOT_ADDRESS, TLD_SERVER: TLD_ADDRESS}
    names |= {f"ns.{server}.lab.": address for server, address in DNS_ADDRESSES.items()}
    return "".join(_addresses(name, address, DELEGATION_TTL_S) for name, address in names.items())


def _addresses(name: str, address: Address, ttl_s: int = DATA_TTL_S) -> str:
    return f"{name} {ttl_s} A {address.v4}\n{name} {ttl_s} AAAA {address.v6}\n"
