"""acme2certifier's hook: nothing is issued that the appliance does not corroborate.

`corroborate` asks for one decision over the appliance's socket; `domain_control` is for challenges, when they are validated;
`Hooks` asks about CAA, when the certificate is about to be made. Whatever is no answer is a refusal.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import socket
from hashlib import sha256
from typing import Any

from cryptography import x509

SOCKET = os.environ.get("MPIC_SOCKET", "/run/mpic/api.sock")
# The appliance answers within limits.answer_s = 9.5 s.
_TIMEOUT_S = 15.0
_METHODS = {"http-01": "acme-http-01", "dns-01": "acme-dns-01", "tls-alpn-01": "acme-tls-alpn-01"}


class NotCorroborated(Exception):
    """The appliance says no, or says nothing."""


class Hooks:
    """What acme2certifier calls around an enrolment. An exception of `pre_hook` ends it."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def pre_hook(self, certificate_name: str, _order_name: str, csr: str) -> None:
        """Raises `NotCorroborated` where CAA does not permit each name of the request, as every perspective sees it."""
        for name in names_of(csr):
            quorum = corroborate({"check_type": "caa", "domain_or_ip_target": name}, trace=certificate_name)
            self._logger.info("MPIC: CAA permits %s (%s)", name, quorum)

    def post_hook(self, _certificate_name: str, _order_name: str, _csr: str, _error: str) -> None:
        """Nothing is left to do."""

    def success_hook(self, *_: object) -> None:
        """Nothing is left to do."""


def domain_control(challenge: str, name: str, token: str, thumbprint: str, *, trace: str) -> str:
    """The quorum that corroborates the ACME challenge of type `challenge`. Raises `NotCorroborated`.

    `thumbprint`: of the account's key (RFC 7638), base64url.
    """
    key_authorization = f"{token}.{thumbprint}"
    digest = sha256(key_authorization.encode()).digest()
    parameters = {"validation_method": _METHODS[challenge]}
    if challenge == "http-01":
        parameters |= {"token": token, "key_authorization": key_authorization}
    elif challenge == "dns-01":
        parameters["key_authorization_hash"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    else:
        parameters["key_authorization_hash"] = digest.hex()
    question = {"check_type": "dcv", "domain_or_ip_target": name, "dcv_check_parameters": parameters}
    return corroborate(question, trace=trace)


def corroborate(question: dict[str, Any], *, trace: str) -> str:
    """The quorum ("6/6") where the appliance answers `is_valid`. Raises `NotCorroborated` in every other case."""
    connection = _Connection(SOCKET)
    try:
        body = json.dumps(question | {"trace_identifier": trace})
        connection.request("POST", "/mpic", body, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotCorroborated(f"the appliance does not answer: {error!r}") from error
    finally:
        connection.close()
    target = question["domain_or_ip_target"]
    if response.status != http.client.OK:
        raise NotCorroborated(f"{target}: the appliance answers {response.status}: {answer.get('error')}")
    if answer.get("is_valid") is not True:
        why = "; ".join(answer.get("reasons", ()))
        raise NotCorroborated(f"{target}: {question['check_type']} not corroborated, {answer.get('quorum')}: {why}")
    return str(answer["quorum"])


def names_of(csr: str) -> list[str]:
    """Every name that the certificate would have. `csr`: base64 or base64url of the DER form, with or without PEM's lines.

    Raises `NotCorroborated` where there is none, or one of a kind that the appliance has no check for.
    """
    text = "".join(line for line in csr.splitlines() if not line.startswith("-----"))
    request = x509.load_der_x509_csr(base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=="))
    names = {str(one.value).lower() for one in request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
    try:
        alternatives = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternatives = x509.SubjectAlternativeName([])
    for one in alternatives:
        if not isinstance(one, x509.DNSName):
            # CAA is of domain names: an IP address has none to be asked about (RFC 8659 section 3).
            raise NotCorroborated(f"no CAA for {one.value}")
        names.add(one.value.lower())
    if not names or any(_is_address(name) for name in names):
        raise NotCorroborated("a certificate without a domain name")
    return sorted(names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Connection(http.client.HTTPConnection):
    """HTTP over the appliance's Unix socket: the caller is who runs this process, no key is needed."""

    def __init__(self, path: str) -> None:
        super().__init__("mpic", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
