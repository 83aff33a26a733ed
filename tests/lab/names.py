"""The DNS tree in operation: built at start, and changed by TXT challenges while it runs.

The sources lie in the state directory, so that any process of root's can change a zone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.lab import dnssec, knot, state, topology
from tests.lab.zones import (
    DATA_TTL_S,
    DELEGATION_TTL_S,
    Zone,
    delegation,
    encloses,
    own_zones,
    parent_of,
    root_hints,
    with_tlds,
)

_NAMESPACES: Final = {"root": "roots-lab", "tld": "roots-lab"} | {
    server: topology.SYSTEM_BY_NAME[server].namespace for server in topology.DNS_ADDRESSES
}
_LISTEN: Final = {"root": topology.ROOT_ADDRESS, "tld": topology.TLD_ADDRESS}


class UnknownZoneError(Exception):
    """No zone of that server encloses the name."""


def trust_anchor_file() -> Path:
    """The lab's root trust anchor: a DNSKEY in master file form."""
    return state.STATE_DIR / "root.key"


def root_hints_file() -> Path:
    """Where the lab's root server is, in master file form."""
    return state.STATE_DIR / "root.hints"


def build(extra: Iterable[Zone]) -> None:
    """Make keys, sign, write every zone, the trust anchor and the root hints."""
    zones = with_tlds([*own_zones(), *extra])
    for zone in zones:
        if zone.signed:
            dnssec.make_key(zone.origin)
    sources = []
    for zone in zones:
        children = [child for child in zones if parent_of(child, zones) == zone]
        sources.append({"zone": asdict(zone), "delegations": "".join(map(_delegation, children))})
    state.write_text(_sources_file(), json.dumps(sources))
    state.write_text(trust_anchor_file(), dnssec.dnskey_record("."))
    state.write_text(root_hints_file(), root_hints())
    for zone, delegations in _sources():
        _write(zone, delegations, {})


def start() -> None:
    """Start the name servers."""
    for server, namespace in _NAMESPACES.items():
        origins = [zone.origin for zone, _ in _sources() if zone.server == server]
        knot.start(server, namespace, _LISTEN.get(server), origins)


def ready() -> bool:
    """Whether every server answers and has loaded each of its zones."""
    return all(knot.unloaded(server) == [] for server in _NAMESPACES)


def set_txt(server: str, name: str, values: Sequence[str], ttl_s: int = DATA_TTL_S) -> None:
    """Let `name` have exactly these TXT records (none: no record) at `server`; served when this returns."""
    name = f"{name.rstrip('.')}."
    file = knot.directory(server) / "txt.json"
    records: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
    records.pop(name, None)
    if values:
        records[name] = [f"{name} {ttl_s} TXT {_quoted(value)}\n" for value in values]
    own = [(zone, delegations) for zone, delegations in _sources() if zone.server == server]
    enclosing = [source for source in own if encloses(source[0].origin, name)]
    if not enclosing:
        raise UnknownZoneError(f"{server} serves no zone for {name}")
    zone, delegations = max(enclosing, key=lambda source: len(source[0].origin))
    state.write_text(file, json.dumps(records))
    _write(zone, delegations, records)
    knot.control(server, "zone-reload", zone.origin)


def _write(zone: Zone, delegations: str, records: Mapping[str, Sequence[str]]) -> None:
    lines = "".join(line for name, lines in records.items() if encloses(zone.origin, name) for line in lines)
    text = zone.text(int(time.time() * 10) % 2**31, delegations) + lines
    state.write_text(knot.zone_file(zone.server, zone.origin), dnssec.sign(zone.origin, text) if zone.signed else text)


def _delegation(zone: Zone) -> str:
    return delegation(zone) + (dnssec.ds_record(zone.origin, DELEGATION_TTL_S) if zone.signed else "")


def _sources_file() -> Path:
    return state.directory("dns") / "sources.json"


def _sources() -> list[tuple[Zone, str]]:
    return [(Zone(**source["zone"]), source["delegations"]) for source in json.loads(_sources_file().read_text())]


def _quoted(value: str) -> str:
    """A TXT value as character-strings of at most 255 octets (RFC 1035 section 5.1)."""
    octets = value.encode()
    parts = [octets[start : start + 255] for start in range(0, len(octets), 255)] or [b""]
    return " ".join('"' + "".join(_escaped(octet) for octet in part) + '"' for part in parts)


def _escaped(octet: int) -> str:
    character = chr(octet)
    return character if 32 <= octet < 127 and character not in '"\\' else f"\\{octet:03d}"
