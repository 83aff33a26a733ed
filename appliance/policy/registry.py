"""Which registry an address is registered at, by the statistics that the registries publish. Pure.

The form is that of their extended delegation statistics (`nro-delegated-stats`, or `delegated-REGISTRY-extended-latest` of one):
`registry|cc|type|start|value|date|status|…`, where value is the number of addresses with `ipv4`, the prefix length with `ipv6`.
It tells who registered an address, not where it is used: a difference is a note, no fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from appliance.model.place import Rir

_REGISTRIES = {
    "afrinic": Rir.AFRINIC,
    "apnic": Rir.APNIC,
    "arin": Rir.ARIN,
    "lacnic": Rir.LACNIC,
    "ripencc": Rir.RIPE_NCC,
}
_VERSION = {"ipv4": 4, "ipv6": 6}


def registries_of(addresses: Iterable[str], lines: Iterable[str]) -> dict[str, Rir]:
    """The registry of each of `addresses` that `lines` have one for; lines that are none are passed over."""
    parsed = [ip_address(address) for address in addresses]
    wanted = {kind: [one for one in parsed if one.version == version] for kind, version in _VERSION.items()}
    found: dict[str, Rir] = {}
    for line in lines:
        registry, _, rest = line.partition("|")
        kind = rest[3:7]
        if registry not in _REGISTRIES or kind not in wanted:
            continue
        span = _span(kind, rest.split("|"))
        if span is not None:
            found |= {str(one): _REGISTRIES[registry] for one in wanted[kind] if int(one) in span}
    return found


def _span(kind: str, fields: list[str]) -> range | None:
    """The addresses of a line's fields after the first; None where it is none of an allocation."""
    try:
        start, value = int(ip_address(fields[2])), int(fields[3])
        if fields[5] not in {"allocated", "assigned"}:
            return None
        return range(start, start + (value if kind == "ipv4" else 1 << (128 - value)))
    except (ValueError, IndexError):
        return None
