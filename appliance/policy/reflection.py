"""Whether a value stands in a request, in any form that a server or a client may make of the request (BR 3.2.2.4.18).

A page that shows its own URL shows a value that the URL holds, and proves nothing. So the request must not hold the value
as it was sent, nor after any decoding. A match too many refuses a value that the CA can choose anew. A match too few is a
certificate for a stranger.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Final

from appliance.errors import ApplianceError

MIN_VALUE_OCTETS: Final = 8
"""A shorter value may stand anywhere by chance. A Random Value has 112 bits (BR 1.6.1), at least 14 octets."""

# Redirects to a login nest three or four deep. Each decoding reads the whole text, so that their number is bounded.
MAX_DECODINGS: Final = 8
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ESCAPE: Final = re.compile(rb"%(?:([0-9A-Fa-f]{2})|[uU]([0-9A-Fa-f]{4}))")
_PUNCTUATION: Final = re.compile(r"[\W_]+")
_PARAMETERS: Final = re.compile(r";[^/]*")


class EncodedTooOften(ApplianceError):
    """The text is percent-encoded more than `MAX_DECODINGS` times."""


def stands_in_request(value: str, url: str, head: str) -> bool:
    """Return whether `value` stands in a request. `url`: absolute, without a fragment. `head`: the request as it is sent.

    Raise `EncodedTooOften` for a text that no number of decodings within the bound makes plain.
    """
    keys = [_key(form) for form in _value_forms(value)]
    return any(_holds(text, keys) for text in _request_forms(url, head))


def too_short(value: str) -> bool:
    """Whether the value has fewer octets than a value must have that is searched for in a text."""
    return len(value.strip().encode()) < MIN_VALUE_OCTETS


def _request_forms(url: str, head: str) -> Iterator[str]:
    scheme, _, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    path, question, query = (slash + target).partition("?")
    # Pages name the port also where the URL does not.
    prefixes = {f"{scheme}://{authority}:{_DEFAULT_PORTS.get(scheme, 0)}", f"{scheme}://{_with_u_labels(authority)}"}
    yield from _decoded(head)
    yield from _decoded(url)
    for prefix in prefixes:
        yield from _decoded(prefix + path + question + query)
    # A server may drop path parameters and resolve dot segments that only a decoding shows.
    for text in _decoded(path):
        without_parameters = _PARAMETERS.sub("", text)
        yield without_parameters
        yield _without_dots(text)
        yield _without_dots(without_parameters)


def _value_forms(value: str) -> set[str]:
    """The value may itself be encoded: a page that encodes what it shows, for a URL or for HTML, makes it of a plain request."""
    return {form for text in (value, html.unescape(value)) for form in _decoded(text)}


def _decoded(text: str) -> Iterator[str]:
    """The text as it is and after each decoding, in both character sets that servers take octets for."""
    octets = text.encode("utf-8", "surrogatepass")
    for _ in range(MAX_DECODINGS + 1):
        yield octets.decode("utf-8", "replace")
        if not octets.isascii():
            yield octets.decode("latin-1")
        before, octets = octets, _ESCAPE.sub(_octets_of, octets)
        if octets == before:
            return
    raise EncodedTooOften(f"percent-encoded more than {MAX_DECODINGS} times")


def _octets_of(escape: re.Match[bytes]) -> bytes:
    octet, character = escape.groups()
    # %uXXXX is no URL's escape by any RFC; old web frameworks decode it all the same.
    return bytes([int(octet, 16)]) if octet else chr(int(character, 16)).encode("utf-8", "surrogatepass")


def _key(value: str) -> tuple[str, bool]:
    """What is searched for, and whether it is letters and digits alone.

    Without punctuation it does not matter what becomes of `+`, slashes, quotes, line ends or octets that decoders drop. A
    value of hardly any letters and digits would be found everywhere, and keeps its punctuation.
    """
    bare = _bare(value)
    return (bare, True) if len(bare) >= MIN_VALUE_OCTETS else (_folded(value), False)


def _holds(text: str, keys: Iterable[tuple[str, bool]]) -> bool:
    bare, folded = _bare(text), _folded(text)
    return any(key in (bare if is_bare else folded) for key, is_bare in keys if key)


def _bare(text: str) -> str:
    return _PUNCTUATION.sub("", text.casefold())


def _folded(text: str) -> str:
    return text.casefold().replace("+", " ")


def _with_u_labels(authority: str) -> str:
    return ".".join(_u_label(label) for label in authority.split("."))


def _u_label(label: str) -> str:
    if not label.startswith("xn--") or len(label) > 63:
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError, OverflowError):
        return label


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, with empty segments merged as servers do."""
    output: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del output[-1:]
        elif segment not in ("", "."):
            output.append(segment)
    return "/" + "/".join(output)
