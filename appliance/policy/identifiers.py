"""Whether an identifier is in the canonical form that every check relies on: the workers' second look at it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from appliance.model.identifier import Identifier, IdentifierType

_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def identifier_problem(identifier: Identifier) -> str | None:
    """Why the value is not canonical, in words, or None. A name with a port, path or user part is none."""
    if identifier.type is IdentifierType.IP:
        return None if _is_canonical_address(identifier.value) else "is not an IP address in canonical form"
    labels = identifier.value.split(".")
    if len(identifier.value) > 253 or len(labels) < 2 or labels[-1].isdigit():
        return "is not a domain name of at most 253 octets with a top-level domain"
    if not all(0 < len(label) <= 63 and _CHARACTERS.issuperset(label) for label in labels):
        return "is not of lower-case A-labels"
    return None


def _is_canonical_address(value: str) -> bool:
    try:
        return str(ip_address(value)) == value and "%" not in value
    except ValueError:
        return False
