"""Signed statements of how far a chain went, for witnesses outside the store: pure but for the key's file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from appliance.errors import EvidenceUnavailable
from appliance.evidence.chain import Link
from appliance.evidence.files import give_to_owner_of_directory

KEY_NAME = "checkpoint.key"  # beside the store, readable by its writer alone; the public key is in KEY_NAME.pub

_PURPOSE = b"mpic-appliance evidence checkpoint v1\n"


class Statement(msgspec.Struct, frozen=True):
    """At `time` (UTC) the chain's last record was `seq`, with this hash (hex). `key`: the signer's Ed25519 key (hex)."""

    seq: int
    hash: str
    time: str
    key: str


class Checkpoint(msgspec.Struct, frozen=True):
    """A statement and its Ed25519 signature (RFC 8032; hex), over a line that names the purpose and the canonical JSON
    (RFC 8785) of the statement."""

    statement: Statement
    signature: str


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Checkpoint)


class CheckpointKey:
    """The private key that signs checkpoints. `public`: the key to verify with, hex of its 32 bytes."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    @classmethod
    def load_or_make(cls, path: Path) -> Self:
        """The key in the PEM file `path`, made there (mode 0600, `path`.pub beside it) where there is none.

        Raises `EvidenceUnavailable`: no permission, no Ed25519 key, or a file that others can read.
        """
        try:
            if not path.exists():
                private_bytes = Ed25519PrivateKey.generate().private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
                )
                _write(path, private_bytes, 0o600)
            if path.stat().st_mode & 0o077:
                raise EvidenceUnavailable(f"{path}: must not be open to group or others (wanted 0600)")
            private = load_pem_private_key(path.read_bytes(), None)
            if not isinstance(private, Ed25519PrivateKey):
                raise EvidenceUnavailable(f"{path}: no Ed25519 key")
            key = cls(private)
            published = path.with_name(f"{path.name}.pub")
            if not published.exists():
                _write(published, f"{key.public}\n".encode(), 0o644)
        except (OSError, ValueError, TypeError) as error:
            raise EvidenceUnavailable(f"{path}: {error}") from error
        return key

    def sign(self, head: Link, time: str) -> Checkpoint:
        """A checkpoint of `head` at `time` (RFC 3339 UTC)."""
        statement = Statement(head.seq, head.hash.hex(), time, self.public)
        return Checkpoint(statement, self._private.sign(_signed_bytes(statement)).hex())


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """One line of canonical JSON, without its end."""
    return _ENCODER.encode(checkpoint)


def decode_checkpoint(line: bytes) -> Checkpoint:
    """The checkpoint in `line`. Raises `msgspec.DecodeError` where there is none."""
    return _DECODER.decode(line)


def is_genuine(checkpoint: Checkpoint) -> bool:
    """Whether the signature is that of the key which the statement names; whose key that is, is the caller's to know."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(checkpoint.statement.key))
        key.verify(bytes.fromhex(checkpoint.signature), _signed_bytes(checkpoint.statement))
    except (ValueError, InvalidSignature):
        return False
    return True


def _signed_bytes(statement: Statement) -> bytes:
    return _PURPOSE + _ENCODER.encode(statement)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, also when the machine stops: a key that is cut short would never open again."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(content)
        file.flush()
        os.fsync(fd)
    give_to_owner_of_directory(beside)
    beside.rename(path)
