"""The request of a website check: its text, and which header fields a caller may add to it."""

from __future__ import annotations

import re
from typing import Final

MAX_HEADERS: Final = 16
MAX_VALUE_CHARS: Final = 1024

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")
# What says where the request goes, how it is framed, how the connection is used, or who asks (RFC 9110, 9112, 6265).
_RESERVED: Final = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "content-encoding",
        "content-type",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "range",
        "accept-encoding",
        "cookie",
        "forwarded",
        "via",
        "max-forwards",
        "http2-settings",
    }
)
_RESERVED_PREFIXES: Final = ("proxy-", "if-", "x-forwarded-", "sec-", ":")


def header_problem(name: str, value: str) -> str | None:
    """Why a caller may not set this field, or None where it may (User-Agent, Accept and the unknown it may)."""
    lowered = name.lower()
    if not _TOKEN.fullmatch(name):
        return f"{name[:64]!r} is no field name (RFC 9110 section 5.1)"
    if lowered in _RESERVED or lowered.startswith(_RESERVED_PREFIXES):
        return f"{name} is not the caller's to set"
    if len(value) > MAX_VALUE_CHARS or not _VALUE.fullmatch(value):
        return f"the value of {name} is longer than {MAX_VALUE_CHARS} or not printable ASCII"
    return None


def headers_problem(headers: tuple[tuple[str, str], ...]) -> str | None:
    """The first problem of a whole list: as above, doubled names, or more than 16 of them."""
    if len(headers) > MAX_HEADERS:
        return f"more than {MAX_HEADERS} fields"
    names = {name.lower() for name, _ in headers}
    if len(names) != len(headers):
        return "a field is given twice"
    return next((problem for name, value in headers if (problem := header_problem(name, value))), None)


def request_head(target: str, authority: str, user_agent: str, headers: tuple[tuple[str, str], ...]) -> str:
    """The request, whole. `headers` may replace User-Agent and Accept, and add fields of which `header_problem` says nothing."""
    fields = {"user-agent": ("User-Agent", user_agent), "accept": ("Accept", "*/*")}
    fields |= {name.lower(): (name, value) for name, value in headers}
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {authority}",
        *[f"{name}: {value}" for name, value in fields.values()],
        "Accept-Encoding: identity",
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines)
