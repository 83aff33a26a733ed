"""The register of callers on TCP: API keys, of which only a hash is kept, and the public keys of client certificates."""

from __future__ import annotations

import hmac
import secrets
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.errors import UNDECODABLE, ApplianceError, ConfigError
from appliance.linux.files import write_atomically

_KEY_BYTES = 32
_PREFIX = "mpic"
# What the parser raises for a certificate that OpenSSL may well accept.
_UNUSABLE = (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm)
_NOBODYS_SHA256 = sha256(b"").hexdigest()


class CallerKind(StrEnum):
    """What a caller shows."""

    API_KEY = "api-key"
    CERTIFICATE = "certificate"


class Registered(msgspec.Struct, frozen=True):
    """One caller. `sha256`: hex, of the whole API key, or of the certificate's SubjectPublicKeyInfo (a renewed certificate
    of the same key stays the same caller). `perspectives`: where not empty, all that this caller may use is the check of
    these alone. `requests_per_s`, `concurrent`: None = the configured limits. `revoked_at`: None = in force.
    """

    name: str
    kind: CallerKind
    id: str
    sha256: str
    created_at: str
    perspectives: tuple[str, ...] = ()
    requests_per_s: int | None = None
    concurrent: int | None = None
    revoked_at: str | None = None


class NameTaken(Exception):
    """A caller of this name, or with this certificate's key, is in force already."""


class UnusableCertificate(ApplianceError):
    """A certificate that cannot be parsed as DER (X.690), or whose public key is of a kind that is not supported."""


class NoSuchCaller(Exception):
    """No caller of this name is in force."""


class Register:
    """The register in `path`, which only `mpicd` writes. Who is added is on disk before it is in force; who is revoked is so at
    once, whatever the disk says, and on disk after `save`, or with the next one who is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = _read(path)
        self._saved: tuple[Registered, ...] | None = self._entries
        self._index()

    @property
    def entries(self) -> tuple[Registered, ...]:
        """All, the revoked ones among them, in order of registration."""
        return self._entries

    @property
    def is_saved(self) -> bool:
        """Whether what is in force is what a restart would read."""
        return self._saved == self._entries

    def by_key(self, key: str) -> Registered | None:
        """The caller with this API key. Takes as long for a wrong key as for a right one."""
        parts = key.split("_", 2)
        entry = self._keys.get(parts[1]) if len(parts) == 3 else None
        digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        same = hmac.compare_digest(digest, _NOBODYS_SHA256 if entry is None else entry.sha256)
        return entry if same else None

    def by_public_key(self, digest: str) -> Registered | None:
        """The caller whose certificate has the public key with this SHA-256."""
        return self._certificates.get(digest)

    def new_key(self, entry: Registered) -> tuple[Registered, str]:
        """`entry` with an id and a hash, and the key itself, which is kept nowhere. `add` puts it in force."""
        number = secrets.token_hex(4)
        key = f"{_PREFIX}_{number}_{secrets.token_urlsafe(_KEY_BYTES)}"
        return msgspec.structs.replace(entry, id=number, sha256=sha256(key.encode()).hexdigest()), key

    def check_free(self, entry: Registered) -> None:
        """Raises `NameTaken`."""
        for one in self._entries:
            if one.revoked_at is None and (one.name == entry.name or one.sha256 == entry.sha256):
                raise NameTaken(one.name)

    def add(self, entry: Registered) -> None:
        """Puts `entry` in force. Raises `NameTaken`, `OSError`."""
        self.check_free(entry)
        entries = (*self._entries, entry)
        self._write(entries)
        self._put_in_force(entries)

    def revoke(self, name: str, kind: CallerKind, at: str) -> Registered:
        """Ends what the caller may do, at once; `save` makes it last. Raises `NoSuchCaller`."""
        for index, one in enumerate(self._entries):
            if one.name == name and one.kind is kind and one.revoked_at is None:
                gone = msgspec.structs.replace(one, revoked_at=at)
                self._put_in_force((*self._entries[:index], gone, *self._entries[index + 1 :]))
                return gone
        raise NoSuchCaller(name)

    def save(self) -> None:
        """Writes what is in force, where the disk has something else. Raises `OSError`."""
        if not self.is_saved:
            self._write(self._entries)

    def _write(self, entries: tuple[Registered, ...]) -> None:
        # Where it fails, the disk may have the one or the other.
        self._saved = None
        write_atomically(self._path, msgspec.json.format(msgspec.json.encode(entries)), mode=0o600, durable=True)
        self._saved = entries

    def _put_in_force(self, entries: tuple[Registered, ...]) -> None:
        self._entries = entries
        self._index()

    def _index(self) -> None:
        alive = [one for one in self._entries if one.revoked_at is None]
        self._keys = {one.id: one for one in alive if one.kind is CallerKind.API_KEY}
        self._certificates = {one.sha256: one for one in alive if one.kind is CallerKind.CERTIFICATE}


def der_public_key_sha256(der: bytes) -> str:
    """`public_key_sha256` of a certificate in DER. Raises `UnusableCertificate`: OpenSSL accepts what is no DER, such as an
    encoded DEFAULT."""
    try:
        return public_key_sha256(x509.load_der_x509_certificate(der))
    except _UNUSABLE as error:
        raise UnusableCertificate(
            "a client certificate that is not valid DER, or has an unsupported kind of key; issue another"
        ) from error


def pem_public_key_sha256(pem: str) -> str:
    """`public_key_sha256` of a certificate in PEM. Raises `UnusableCertificate`."""
    try:
        return public_key_sha256(x509.load_pem_x509_certificate(pem.encode()))
    except _UNUSABLE as error:
        raise UnusableCertificate("not a certificate in PEM, or one of an unsupported kind of key") from error


def public_key_sha256(certificate: x509.Certificate) -> str:
    """Hex SHA-256 of the SubjectPublicKeyInfo (RFC 7469 section 2.4 pins the same). Raises one of `_UNUSABLE`."""
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(public).hexdigest()


def _read(path: Path) -> tuple[Registered, ...]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Registered, ...])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except UNDECODABLE as error:
        raise ConfigError([f"{path}: not a register of callers: {error}"]) from error
