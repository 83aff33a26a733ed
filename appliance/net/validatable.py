"""Which identifiers can be validated at all: not every name is in the public DNS, not every address belongs to an applicant.

Asked at each door: for a caller's request, for a partner's, and by the worker before it sends a packet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.config.schema import TargetConfig
from appliance.model.identifier import Identifier, IdentifierType
from appliance.net.special_purpose import IpNetwork, refused
from appliance.net.special_use_registry import FOR_TESTS, NEVER_EXCEPTED

_SOURCES: Final = dict((*FOR_TESTS, *NEVER_EXCEPTED))
_EXCUSABLE: Final = frozenset(name for name, _ in FOR_TESTS)


@dataclass(frozen=True, slots=True)
class Exceptions:
    """What configuration lists as allowed though reserved: `targets.special_purpose_exceptions` and
    `targets.special_use_exceptions`. In production both are empty."""

    networks: tuple[IpNetwork, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, targets: TargetConfig) -> Exceptions:
        """Those of the configuration."""
        return cls(targets.special_purpose_exceptions, targets.special_use_exceptions)


NONE: Final = Exceptions()


def unvalidatable(identifier: Identifier, exceptions: Exceptions = NONE) -> str | None:
    """Why nobody can show control of `identifier`, as the end of a sentence about it; None where somebody may.

    A name at or under an entry of the registry of special-use names, under `internal`, `in-addr.arpa` or `ip6.arpa`
    (RFC 6761, BR 4.2.2); an address that is special-purpose (RFC 6890), whatever the method.
    """
    if identifier.type is IdentifierType.IP:
        reason = refused(identifier.value, exceptions.networks)
        remedy = "nobody can show control of it; give the applicant's public address"
        return None if reason is None else f"is not an address that can be validated: {reason}; {remedy}"
    entry = special_use(identifier.value, exceptions.names)
    if entry is None:
        return None
    remedy = "nobody can show control of a name there; give a name under a public top-level domain"
    return f"is at or under {entry}, which is reserved ({_SOURCES[entry]}): {remedy}"


def special_use(name: str, exceptions: tuple[str, ...] = ()) -> str | None:
    """The reserved name that `name` (lower-case A-labels) is or lies under; None where there is none.

    `exceptions`: of the names for tests, those that count as any other.
    """
    labels = name.split(".")
    # The longest reserved name has two labels.
    for depth in range(min(2, len(labels)), 0, -1):
        entry = ".".join(labels[-depth:])
        if entry in _SOURCES and not (entry in _EXCUSABLE and entry in exceptions):
            return entry
    return None
