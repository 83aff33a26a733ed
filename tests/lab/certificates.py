"""Certificates for the lab's web servers: self-signed for applicants, from the lab's own CA for echo anchors."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.lab import state

_LIFETIME = datetime.timedelta(days=30)


class Authority:
    """A CA that lives as long as the lab is being built: its key is never written."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab anchors")])
        builder = _builder(self._name, self._name, self._key.public_key())
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())

    def write(self, file: Path) -> None:
        """Write the CA's certificate as PEM."""
        state.write_text(file, _pem(self._certificate))

    def issue(
        self,
        file: Path,
        names: Sequence[str],
        addresses: Sequence[IPv4Address | IPv6Address],
        lifetime: datetime.timedelta = _LIFETIME,
    ) -> None:
        """Write a new key and its certificate for these names and addresses as one PEM file that only root reads.

        `lifetime` begins an hour ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([*map(x509.DNSName, names), *map(x509.IPAddress, addresses)])
        builder = _builder(subject, self._name, key.public_key(), lifetime).add_extension(alternatives, critical=False)
        _write(file, key, builder.sign(self._key, hashes.SHA256()))


def self_signed(file: Path, names: Sequence[str]) -> None:
    """Write a new key and a certificate that it signed itself as one PEM file that only root reads."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = _builder(name, name, key.public_key())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
    _write(file, key, builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256()))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    lifetime: datetime.timedelta = _LIFETIME,
) -> x509.CertificateBuilder:
    begins = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + lifetime)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _write(file: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    state.write_text(file, private.decode() + _pem(certificate), mode=0o600)
