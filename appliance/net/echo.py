"""The datagrams of `mpic-echo`: a random nonce goes out, and comes back signed by the anchor (Ed25519, RFC 8032).

Request and reply have the same size, so that a server is of no use to who forges source addresses:
`magic (8) | nonce (32) | signature (64, zeroes in a request)`. The signature is over `magic | nonce`. Only who holds the
anchor's private key can answer, and not before the request has reached him.
"""

from __future__ import annotations

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAGIC = b"mpicech1"
NONCE_BYTES = 32
SIGNATURE_BYTES = 64
DATAGRAM_BYTES = len(MAGIC) + NONCE_BYTES + SIGNATURE_BYTES


def public_key(text: str) -> Ed25519PublicKey:
    """The key that `text` is the base64 of. Raises `ValueError` where it is none."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def request_datagram(nonce: bytes) -> bytes:
    """What an anchor is sent."""
    return MAGIC + nonce + bytes(SIGNATURE_BYTES)


def nonce_of(datagram: bytes) -> bytes | None:
    """The nonce that a datagram carries; None where it is not of this form."""
    if len(datagram) != DATAGRAM_BYTES or not datagram.startswith(MAGIC):
        return None
    return datagram[len(MAGIC) : len(MAGIC) + NONCE_BYTES]


def is_signed(datagram: bytes, key: Ed25519PublicKey) -> bool:
    """Whether the datagram, of the right form, bears the signature of `key`."""
    signed = len(MAGIC) + NONCE_BYTES
    try:
        key.verify(datagram[signed:], datagram[:signed])
    except InvalidSignature:
        return False
    return True
