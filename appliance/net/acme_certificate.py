"""Certificates of the TLS-ALPN challenge, read within bounds (RFC 8737 section 3, RFC 8738 section 6)."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from appliance.errors import ApplianceError
from appliance.model.observation import CertificateSeen

# An honest challenge certificate takes less than 2 KiB, an RSA key of 8192 bits included: thousands of names never parse.
MAX_CERTIFICATE_BYTES: Final = 16 * 1024
_MAX_NAMES_KEPT: Final = 16
# A domain name has 253 at most (RFC 1035), besides the word that tells its kind. What is longer ends in a sign that none has.
_MAX_NAME_CHARS: Final = 253
_CLIPPED: Final = "\N{HORIZONTAL ELLIPSIS}"
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
_ACME_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


class UnreadableCertificate(ApplianceError):
    """What was presented is no certificate, or one that is too large."""


def read_certificate(der: bytes) -> CertificateSeen:
    """What the challenge is decided by. Raises `UnreadableCertificate`; an extension given twice is unreadable too."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise UnreadableCertificate(f"the certificate has {len(der)} bytes, more than {MAX_CERTIFICATE_BYTES}")
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = certificate.extensions
        identifier, critical = _acme_identifier(extensions)
        return CertificateSeen(
            sha256(der).hexdigest(),
            _common_name(certificate),
            _names(extensions),
            identifier,
            critical,
            _is_self_signed(certificate),
        )
    except _UNREADABLE as error:
        raise UnreadableCertificate(f"the certificate cannot be read: {type(error).__name__}") from error


def _acme_identifier(extensions: x509.Extensions) -> tuple[str | None, bool]:
    for extension in extensions:
        if extension.oid == _ACME_IDENTIFIER and isinstance(extension.value, x509.UnrecognizedExtension):
            return _clipped(extension.value.value.hex()), extension.critical
    return None, False


def _names(extensions: x509.Extensions) -> tuple[str, ...]:
    names: list[str] = []
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names += [_name(name) for name in extension.value]
    return tuple(names[:_MAX_NAMES_KEPT])


def _name(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DNSName):
        return f"dns:{_clipped(name.value.lower())}"
    if isinstance(name, x509.IPAddress):
        return f"ip:{name.value}"
    return f"other:{type(name).__name__}"


def _clipped(text: str) -> str:
    return text if len(text) <= _MAX_NAME_CHARS else text[:_MAX_NAME_CHARS] + _CLIPPED


def _common_name(certificate: x509.Certificate) -> str | None:
    attributes = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return _clipped(str(attributes[0].value)) if attributes else None


def _is_self_signed(certificate: x509.Certificate) -> bool:
    """Subject and issuer are the same and the signature verifies with the certificate's own key."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
