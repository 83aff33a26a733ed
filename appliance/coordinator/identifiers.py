"""The one place where a caller's text becomes an `Identifier`: everything behind it sees canonical values only."""

from __future__ import annotations

import ipaddress
import re

import idna

from appliance.errors import BadRequest
from appliance.model.identifier import Identifier, IdentifierType
from appliance.net.validatable import Exceptions, unvalidatable

FIELD = "domain_or_ip_target"

_MAX_INPUT_CHARACTERS = 1024
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Contextual rules of RFC 5892 allow these in some scripts; the IDNA library holds the rules.
_JOINERS = "\u200c\u200d"


def parse_identifier(text: str) -> Identifier:
    """The identifier that `text` names, in canonical form.

    Names become lower-case A-labels (UTS 46 non-transitional, IDNA 2008) without trailing dot and wildcard label, of P-labels
    and non-reserved LDH labels only (BR 1.6.1); addresses their canonical text (RFC 5952). Raises `BadRequest` that says why not.
    """
    if not text:
        raise _refused("is empty")
    if len(text) > _MAX_INPUT_CHARACTERS:
        raise _refused(f"is longer than {_MAX_INPUT_CHARACTERS} characters")
    _refuse_url_parts(text)
    address = _address(text)
    if address is not None:
        return Identifier(IdentifierType.IP, address, wildcard=False, requested=text)
    wildcard = text.startswith("*.")
    name = _a_labels((text[2:] if wildcard else text).removesuffix("."))
    return Identifier(IdentifierType.DNS, name, wildcard=wildcard, requested=text)


def to_validate(text: str, exceptions: Exceptions) -> Identifier:
    """As `parse_identifier`, for what is to be validated: a `BadRequest` also says why nobody can show control of it."""
    identifier = parse_identifier(text)
    problem = unvalidatable(identifier, exceptions)
    if problem is not None:
        raise _refused(problem)
    return identifier


def _refused(rule: str) -> BadRequest:
    return BadRequest(FIELD, rule)


def _refuse_url_parts(text: str) -> None:
    if any((not character.isprintable() and character not in _JOINERS) or character.isspace() for character in text):
        raise _refused("holds white space or control characters")
    if "://" in text:
        raise _refused("is a URL; a domain name or an IP address is asked for, without scheme")
    if "@" in text:
        raise _refused("holds user information or is a mail address; only the domain name is asked for")
    for character, what in (
        ("/", "a path or a prefix length"),
        ("?", "a query"),
        ("#", "a fragment"),
        ("\\", "a backslash"),
    ):
        if character in text:
            raise _refused(f"holds {what} ({character}); only a domain name or an IP address is asked for")
    if "[" in text or "]" in text:
        raise _refused("holds brackets; an IPv6 address is given without them and without a port")
    if "%" in text:
        raise _refused("holds a zone or a percent escape (%)")


def _address(text: str) -> str | None:
    try:
        return ipaddress.ip_address(text).compressed
    except ValueError:
        pass
    host, colon, port = text.rpartition(":")
    if colon and ":" not in host and port.isdigit():
        raise _refused(f"holds a port (:{port}); only a domain name or an IP address is asked for")
    if colon:
        raise _refused("holds a colon but is not an IPv6 address")
    return None


def _a_labels(name: str) -> str:
    if "*" in name:
        raise _refused("holds an asterisk; it may only be the whole left-most label, as in *.example.com")
    name = name.lower() if name.isascii() else _encoded(name)
    labels = name.split(".")
    for label in labels:
        _check_label(label)
    if len(name) > 253:
        raise _refused(f"is {len(name)} octets long as A-labels, at most 253 are possible (RFC 1035)")
    if labels[-1].isdigit():
        raise _refused("ends in a numeric label: neither an IPv4 address in canonical form nor a domain name")
    if len(labels) == 1:
        raise _refused(f"{labels[0]} is a single label, not a fully-qualified domain name under a top-level domain")
    return name


def _encoded(name: str) -> str:
    try:
        return idna.encode(name, uts46=True, std3_rules=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise _refused(
            f"is not a valid internationalised domain name (UTS 46, IDNA 2008): {_clipped(str(error))}"
        ) from error


def _clipped(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _check_label(label: str) -> None:
    if not label:
        raise _refused("holds an empty label")
    if len(label) > 63:
        raise _refused(f"holds a label of {len(label)} octets, at most 63 are possible (RFC 1035)")
    if "_" in label:
        raise _refused(f"label {label} holds an underscore, which no certificate's domain name may (BR 7.1.2.7.12)")
    if not _LABEL.fullmatch(label):
        raise _refused(f"label {label} is not of letters, digits and inner hyphens")
    if label[2:4] == "--":
        _check_p_label(label)


def _check_p_label(label: str) -> None:
    """BR 1.6.1 asks for valid Punycode after `xn--`, not for IDNA 2008, of names that come as A-labels."""
    if not label.startswith("xn--"):
        raise _refused(f"label {label} is a reserved LDH label (RFC 5890), which no certificate's domain name may hold")
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
        valid = not decoded.isascii() and decoded.encode("punycode").decode("ascii") == label[4:]
    except (UnicodeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise _refused(f"label {label} is not valid Punycode after xn-- (RFC 3492)")
