"""What a certificate names: a domain or an IP address (RFC 8555 section 7.1.4, RFC 8738)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class IdentifierType(StrEnum):
    """The ACME identifier types (RFC 8555 section 9.7.7)."""

    DNS = "dns"
    IP = "ip"


class Identifier(msgspec.Struct, frozen=True):
    """One identifier, already normalised at the edge.

    `value` is, for `dns`, lower-case A-labels without the trailing dot and without the wildcard label; for `ip` the
    canonical text form (RFC 5952 for IPv6). `wildcard` is true where the certificate is to name `*.` + value.
    `requested` is the text as the caller gave it.
    """

    type: IdentifierType
    value: str
    wildcard: bool
    requested: str
