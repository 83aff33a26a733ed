"""acme2certifier's hook against a served API: what is not a clear yes is a refusal."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.model.check import AcmeDns01Check, AcmeHttp01Check, AcmeTlsAlpn01Check, CaaCheck
from tests.packaging.modules import module_of
from tests.unit.api.serving import CAA, serving
from tests.unit.coordinator.workers import CODES, mismatch

HOOK = Path(__file__).parents[3] / "packaging" / "examples" / "acme2certifier" / "mpic_hook.py"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = module_of(HOOK)
    monkeypatch.setattr(module, "SOCKET", str(tmp_path / "api.sock"))
    return module


def csr(*names: x509.GeneralName, common_name: str | None = None) -> str:
    """As acme2certifier hands it over: base64url of the DER form."""
    attributes = [] if common_name is None else [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.urlsafe_b64encode(request.public_bytes(Encoding.DER)).rstrip(b"=").decode()


@pytest.mark.parametrize("challenge", ["http-01", "dns-01", "tls-alpn-01"])
async def test_each_challenge_is_asked_in_its_own_form(tmp_path: Path, hook: ModuleType, challenge: str) -> None:
    async with serving(tmp_path) as on:

        async def control() -> str:
            told: str = await asyncio.to_thread(
                hook.domain_control, challenge, "example.com", "token", THUMBPRINT, trace="challenge-7"
            )
            return told

        assert await control() == "6/6"
        [request] = on.stage.workers["ams"].asked
        digest = hook.sha256(f"token.{THUMBPRINT}".encode()).digest()
        assert request.check in (
            AcmeHttp01Check("token", f"token.{THUMBPRINT}"),
            AcmeDns01Check(base64.urlsafe_b64encode(digest).decode().rstrip("=")),
            AcmeTlsAlpn01Check(digest.hex()),
        )
        assert request.check.__struct_config__.tag == f"acme-{challenge}"
        on.stage.script(mismatch, *CODES[:3])
        with pytest.raises(hook.NotCorroborated, match=r"example\.com: dcv not corroborated, 3/6"):
            await control()


async def test_caa_is_asked_for_every_name(tmp_path: Path, hook: ModuleType) -> None:
    names = csr(x509.DNSName("*.example.com"), x509.DNSName("Example.com"), common_name="www.example.com")
    async with serving(tmp_path) as on:
        hooks = hook.Hooks(logging.getLogger())
        await asyncio.to_thread(hooks.pre_hook, "certificate-1", "order-1", names)
        asked = on.stage.workers["ams"].asked
        assert [one.identifier.requested for one in asked] == ["*.example.com", "example.com", "www.example.com"]
        assert all(isinstance(one.check, CaaCheck) for one in asked)
        on.stage.script(mismatch, *CODES)
        with pytest.raises(hook.NotCorroborated, match="0/6"):
            await asyncio.to_thread(hooks.pre_hook, "certificate-2", "order-2", names)


@pytest.mark.parametrize(
    "request_",
    [
        csr(),
        csr(common_name="192.0.2.1"),
        csr(x509.DNSName("example.com"), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))),
        csr(x509.RFC822Name("a@example.com")),
    ],
)
def test_a_name_that_caa_knows_nothing_of_is_refused(hook: ModuleType, request_: str) -> None:
    with pytest.raises(hook.NotCorroborated):
        hook.names_of(request_)


async def test_no_answer_is_a_refusal(tmp_path: Path, hook: ModuleType) -> None:
    async def asks(question: dict[str, Any]) -> None:
        await asyncio.to_thread(hook.corroborate, question, trace="t")

    with pytest.raises(hook.NotCorroborated, match="does not answer"):
        await asks(CAA)
    async with serving(tmp_path) as on:
        with pytest.raises(hook.NotCorroborated, match="answers 400"):
            await asks(CAA | {"domain_or_ip_target": "a b"})
        on.stage.evidence.failing = OSError("full")
        with pytest.raises(hook.NotCorroborated, match="answers 50"):
            await asks(CAA)
