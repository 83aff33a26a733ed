"""Domain names: text to wire form and back (RFC 1035 sections 3.1, 4.1.4, 5.1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from appliance.errors import ApplianceError

MAX_NAME_BYTES: Final = 255
_MAX_LABEL_BYTES: Final = 63
_POINTER: Final = 0xC0
# Compression lets one name be built of many pieces; no honest one needs more (127 labels is the limit by length).
_MAX_POINTERS: Final = 32

_PLAIN_BYTES: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_*/+=:"
_PLAIN: Final = frozenset(_PLAIN_BYTES)
_TEXT_OF_BYTE: Final = tuple(
    chr(b) if b in _PLAIN else ("\\" + chr(b) if 0x21 <= b <= 0x7E else f"\\{b:03d}") for b in range(256)
)


class BadName(ApplianceError):
    """A text that is no absolute domain name in A-labels."""


class Malformed(ApplianceError):
    """Bytes from the network that are not what the protocol says."""


@lru_cache(maxsize=1024)
def name_to_wire(name: str) -> bytes:
    """The uncompressed wire form of an absolute name, given in printable ASCII without escapes; a final dot is allowed.

    Raises `BadName` for anything else: an empty or too long label, more than 255 bytes, white space, a backslash.
    """
    if name == ".":
        return b"\0"
    wire = bytearray()
    for label in name.removesuffix(".").split("."):
        if not 0 < len(label) <= _MAX_LABEL_BYTES or not label.isascii():
            raise BadName(f"{name[:300]!r}: a label is empty, longer than 63 bytes or not ASCII")
        encoded = label.encode("ascii")
        if encoded.translate(None, _PLAIN_BYTES):
            raise BadName(f"{name[:300]!r}: {label!r} has a character that no name here may have")
        wire.append(len(encoded))
        wire += encoded
    wire.append(0)
    if len(wire) > MAX_NAME_BYTES:
        raise BadName(f"{name[:300]!r} is longer than 255 bytes")
    return bytes(wire)


def read_name(message: bytes, offset: int) -> tuple[bytes, int]:
    """The uncompressed wire form of the name at `offset`, and the offset just after it there.

    Each pointer must lead to before the piece it stands in, so that the walk ends. Raises `Malformed`.
    """
    pieces: list[bytes] = []
    length = 1
    after = -1
    start = offset
    pointers = 0
    size = len(message)
    while True:
        if offset >= size:
            raise Malformed("a name runs past the end of the message")
        octet = message[offset]
        if octet == 0:
            pieces.append(b"\0")
            return b"".join(pieces), (offset + 1 if after < 0 else after)
        if octet <= _MAX_LABEL_BYTES:
            end = offset + 1 + octet
            length += 1 + octet
            if end > size or length > MAX_NAME_BYTES:
                raise Malformed("a name is longer than 255 bytes or runs past the end of the message")
            pieces.append(message[offset:end])
            offset = end
            continue
        if octet < _POINTER or offset + 2 > size:
            raise Malformed("a label has an unknown type or its pointer is cut off")
        if after < 0:
            after = offset + 2
        offset = (octet & 0x3F) << 8 | message[offset + 1]
        pointers += 1
        if offset >= start or pointers > _MAX_POINTERS:
            raise Malformed("a compression pointer does not lead backwards, or there are too many")
        start = offset


def skip_name(message: bytes, offset: int) -> int:
    """The offset just after the name at `offset`, without reading what it points to. Raises `Malformed`."""
    size = len(message)
    while offset < size:
        octet = message[offset]
        if octet == 0:
            return offset + 1
        if octet >= _POINTER:
            return offset + 2
        if octet > _MAX_LABEL_BYTES:
            break
        offset += 1 + octet
    raise Malformed("a name runs past the end of the message or has a label of unknown type")


@lru_cache(maxsize=1024)
def name_to_text(wire: bytes) -> str:
    """Presentation form of an uncompressed wire name, absolute, without the final dot (the root is `.`), escaped."""
    labels: list[str] = []
    offset = 0
    while octet := wire[offset]:
        label = wire[offset + 1 : offset + 1 + octet]
        if label.translate(None, _PLAIN_BYTES):
            labels.append("".join([_TEXT_OF_BYTE[b] for b in label]))
        else:
            labels.append(label.decode("ascii"))
        offset += 1 + octet
    return ".".join(labels) or "."


def fold(wire: bytes) -> bytes:
    """The form in which two names compare (RFC 4343): ASCII letters lower-case. Length octets are below `A`."""
    return wire.lower()
