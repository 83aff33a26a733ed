"""Certificates for scripted TLS servers."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Certificate:
    der: bytes
    key: ec.EllipticCurvePrivateKey

    @property
    def fingerprint(self) -> str:
        return sha256(self.der).hexdigest()


def self_signed(names: list[str]) -> Certificate:
    return certificate([x509.DNSName(name) for name in names])


def acme_identifier(value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"), value)


def certificate(
    names: list[x509.GeneralName],
    *extensions: tuple[x509.ExtensionType, bool],
    issuer: str = "test",
    signed_by: ec.EllipticCurvePrivateKey | None = None,
) -> Certificate:
    """A certificate for `test`; each extension with whether it is critical."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("test"))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signed = builder.sign(signed_by or key, hashes.SHA256())
    return Certificate(signed.public_bytes(serialization.Encoding.DER), key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def server_context(certificate: Certificate, directory: Path, *, alpn: list[str] | None = None) -> ssl.SSLContext:
    path = directory / "server.pem"
    pem = ssl.DER_cert_to_PEM_cert(certificate.der).encode()
    key = certificate.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    return context
