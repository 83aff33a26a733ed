"""tls-alpn-01: what is negotiated, which certificates match, and what hostile ones do."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from appliance.checks.run import run
from appliance.model.check import AcmeTlsAlpn01Check
from appliance.model.identifier import Identifier
from appliance.model.observation import Observation, Outcome
from appliance.net.acme_certificate import MAX_CERTIFICATE_BYTES, UnreadableCertificate, read_certificate
from tests.unit.checks.help import address, context, name, request
from tests.unit.net.certificates import Certificate, acme_identifier, certificate, self_signed, server_context
from tests.unit.net.web import V4, V6, Loopback, listening

DIGEST = sha256(b"token.key")
CHECK = AcmeTlsAlpn01Check(DIGEST.hexdigest())
PROOF = acme_identifier(b"\x04\x20" + DIGEST.digest())
N = name("n.example")
DNS = x509.DNSName("n.example")
# Of a check and of the server that it asks; CPU time, which a busy machine does not lengthen much.
MOST_CPU_S = 0.03
STRANGER = ec.generate_private_key(ec.SECP256R1())


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def observed(
    context_: ssl.SSLContext, identifier: Identifier = N, *, ports: tuple[str, ...] = (V4,)
) -> Observation:
    async with listening(_hold, tls=context_) as port:
        ctx = context({(identifier.value, "A"): [V4]}, Loopback({(a, 443): port for a in ports}))
        return await run(request(identifier, CHECK), ctx)


async def of(cert: Certificate, directory: Path, *, alpn: list[str] | None = None) -> Observation:
    return await observed(server_context(cert, directory, alpn=["acme-tls/1"] if alpn is None else alpn))


async def test_the_challenge_certificate_matches(tmp_path: Path) -> None:
    cert = certificate([x509.DNSName("N.Example")], (PROOF, True))
    observation = await of(cert, tmp_path)
    assert observation.outcome is Outcome.MATCH, observation
    (connection,) = observation.connections
    assert (connection.alpn, connection.certificate_sha256, connection.port) == ("acme-tls/1", cert.fingerprint, 443)
    assert observation.certificate is not None
    assert observation.certificate.common_name == "test"
    assert observation.certificate.alternative_names == ("dns:n.example",)


@pytest.mark.parametrize(
    "cert",
    [
        certificate([DNS]),
        certificate([DNS], (PROOF, False)),
        certificate([DNS], (acme_identifier(b"\x04\x20" + bytes(32)), True)),
        certificate([DNS], (acme_identifier(DIGEST.digest()), True)),
        certificate([DNS], (acme_identifier(b"\x04\x20" + DIGEST.digest() + b"\x00"), True)),
        certificate([DNS], (acme_identifier(b"\x04\x81\x20" + DIGEST.digest()), True)),
        certificate([], (PROOF, True)),
        certificate([DNS, DNS], (PROOF, True)),
        certificate([DNS, x509.DNSName("m.example")], (PROOF, True)),
        certificate([x509.DNSName("m.example")], (PROOF, True)),
        certificate([x509.DNSName("*.n.example")], (PROOF, True)),
        certificate([x509.RFC822Name("n.example")], (PROOF, True)),
        certificate([x509.IPAddress(ip_address(V4))], (PROOF, True)),
        certificate([DNS], (PROOF, True), signed_by=STRANGER),
        certificate([DNS], (PROOF, True), issuer="another"),
        certificate([x509.DNSName(f"{i}.example") for i in range(2000)], (PROOF, True)),
    ],
)
async def test_other_certificates_do_not(cert: Certificate, tmp_path: Path) -> None:
    observation = await of(cert, tmp_path)
    assert observation.outcome is Outcome.MISMATCH, observation


@pytest.mark.parametrize("alpn", [[], ["http/1.1"]])
async def test_the_protocol_must_be_negotiated(alpn: list[str], tmp_path: Path) -> None:
    observation = await of(certificate([DNS], (PROOF, True)), tmp_path, alpn=alpn)
    assert not observation.corroborates
    assert observation.errors[0].code in {"tls.alpn", "tls.failed"}


@pytest.mark.parametrize(
    ("target", "server_name"),
    [
        (V4, "1.0.18.198.in-addr.arpa"),
        (V6, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
async def test_an_address_is_asked_for_by_its_reverse_name(target: str, server_name: str, tmp_path: Path) -> None:
    names: list[str | None] = []
    server = server_context(
        certificate([x509.IPAddress(ip_address(target))], (PROOF, True)), tmp_path, alpn=["acme-tls/1"]
    )
    server.sni_callback = lambda _socket, given_name, _context: names.append(given_name)
    observation = await observed(server, address(target), ports=(target,))
    assert observation.outcome is Outcome.MATCH, observation
    assert names == [server_name]
    assert observation.lookups == ()


LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 53, "example"])


@pytest.mark.parametrize("length", [253, 252, 251])
async def test_the_longest_names_are_compared_whole(length: int, tmp_path: Path) -> None:
    asked = LONGEST[253 - length :]
    server = certificate([x509.DNSName(asked)], (PROOF, True))
    context_ = server_context(server, tmp_path, alpn=["acme-tls/1"])
    assert (await observed(context_, name(asked))).outcome is Outcome.MATCH
    longer = certificate([x509.DNSName(asked + "x")], (PROOF, True))
    context_ = server_context(longer, tmp_path, alpn=["acme-tls/1"])
    assert (await observed(context_, name(asked))).outcome is Outcome.MISMATCH


async def test_a_name_is_sent_as_sni(tmp_path: Path) -> None:
    names: list[str | None] = []
    server = server_context(certificate([DNS], (PROOF, True)), tmp_path, alpn=["acme-tls/1"])
    server.sni_callback = lambda _socket, given_name, _context: names.append(given_name)
    assert (await observed(server)).corroborates
    assert names == ["n.example"]


async def test_tls_older_than_1_2_is_refused(tmp_path: Path) -> None:
    server = server_context(certificate([DNS], (PROOF, True)), tmp_path, alpn=["acme-tls/1"])
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (await observed(server)).corroborates


async def test_neither_wildcards_nor_special_purpose_addresses() -> None:
    wildcard = await run(request(name("n.example", wildcard=True), CHECK), context({}))
    assert wildcard.errors[0].code == "request.refused"
    connector = Loopback({})
    special = await run(request(address("127.0.0.1"), CHECK), context({}, connector))
    assert special.errors[0].code == "request.refused"
    assert connector.connected == []


def test_a_large_certificate_is_not_parsed() -> None:
    with pytest.raises(UnreadableCertificate):
        read_certificate(b"\x30" * (MAX_CERTIFICATE_BYTES + 1))


async def test_a_hundred_checks_leave_the_process_as_it_was(tmp_path: Path) -> None:
    def state() -> tuple[list[object], int]:
        gc.collect()
        contexts = sum(isinstance(one, ssl.SSLContext) for one in gc.get_objects())
        return [vars(ssl)[key] for key in sorted(vars(ssl))], contexts

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    secured = server_context(certificate([DNS], (PROOF, True)), tmp_path, alpn=["acme-tls/1"])
    async with listening(_hold, tls=secured) as port:
        ctx = context({("n.example", "A"): [V4]}, Loopback({(V4, 443): port}))
        await run(request(N, CHECK), ctx)
        before, open_before, cpu_s = state(), descriptors(), time.process_time()
        for _ in range(100):
            assert (await run(request(N, CHECK), ctx)).outcome is Outcome.MATCH
        spent_s = time.process_time() - cpu_s
        assert descriptors() < open_before + 10  # the server may not have seen yet that the last of them are over
    assert state() == before
    assert spent_s < 100 * MOST_CPU_S


CERTIFICATE = certificate([DNS], (PROOF, True)).der


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.lists(st.tuples(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 900))
def test_mutated_certificates_raise_nothing_else(changes: list[tuple[int, int]], length: int) -> None:
    der = bytearray(CERTIFICATE)
    for index, value in changes:
        der[index] = value
    try:
        seen = read_certificate(bytes(der[:length]))
    except UnreadableCertificate:
        return
    assert not seen.self_signed or bytes(der[:length]) == CERTIFICATE or seen.acme_identifier is not None


def test_several_names_of_a_certificate_are_all_read() -> None:
    seen = read_certificate(self_signed(["a.example", "b.example"]).der)
    assert seen.alternative_names == ("dns:a.example", "dns:b.example")
    assert seen.self_signed
