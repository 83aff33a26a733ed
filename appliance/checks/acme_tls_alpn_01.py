"""BR 3.2.2.4.20 and 3.2.2.5.7: ACME tls-alpn-01 (RFC 8737, RFC 8738 section 6)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from appliance.checks.context import CheckContext
from appliance.checks.found import Found, Mismatched
from appliance.model.check import AcmeTlsAlpn01Check
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import CertificateSeen, CheckError
from appliance.net.acme_certificate import UnreadableCertificate, read_certificate
from appliance.net.alpn import ACME_TLS_1
from appliance.net.trace import Trace

STEP: Final = "certificate"
# DER: an OCTET STRING of 32 bytes.
_OCTET_STRING_32: Final = "0420"


async def check(identifier: Identifier, parameters: AcmeTlsAlpn01Check, context: CheckContext, trace: Trace) -> Found:
    """The target negotiates `acme-tls/1` and presents a self-signed certificate for the identifier alone, with the digest."""
    is_address = identifier.type is IdentifierType.IP
    server_name = ip_address(identifier.value).reverse_pointer if is_address else identifier.value
    der, protocol = await context.alpn.certificate(
        identifier.value, is_address=is_address, server_name=server_name, trace=trace
    )
    trace.enter(STEP)
    if protocol != ACME_TLS_1:
        raise Mismatched("tls.alpn", f"the target did not negotiate {ACME_TLS_1}", "tls")
    if der is None:
        raise Mismatched("tls.certificate", "the target presented no certificate", STEP)
    try:
        seen = read_certificate(der)
    except UnreadableCertificate as error:
        raise Mismatched("tls.certificate", str(error), STEP) from error
    trace.certificate = seen
    trace.seen += [*seen.alternative_names, f"acmeIdentifier:{seen.acme_identifier}"]
    expected_name = f"{'ip' if is_address else 'dns'}:{identifier.value}"
    problem = _problem(seen, expected_name, parameters.key_authorization_hash)
    return Found(True) if problem is None else Found(False, CheckError("mismatch", problem, STEP))


def _problem(seen: CertificateSeen, expected_name: str, digest: str) -> str | None:
    if not seen.self_signed:
        return "the certificate is not self-signed"
    if seen.alternative_names != (expected_name,):
        return "the certificate's one subject alternative name is not the identifier"
    if seen.acme_identifier is None:
        return "the certificate has no acmeIdentifier extension"
    if not seen.acme_identifier_critical:
        return "the certificate's acmeIdentifier extension is not critical"
    if seen.acme_identifier != _OCTET_STRING_32 + digest.lower():
        return "the certificate's acmeIdentifier is not the expected digest"
    return None
