"""What OpenSSL accepts as a client certificate ends in service or in a recorded refusal, in bounded memory and time."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from appliance.api import tls
from appliance.evidence.record import EventType
from tests.unit.api.authority import Authority, Pair
from tests.unit.api.listeners import add_client, events, free_port, mutual_tls
from tests.unit.api.serving import Serving, serving
from tests.unit.coordinator.workers import eventually

GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
ENDLESS = 64 * 1024 * 1024
# What two kernels' socket buffers and one record take, far from all that the stranger sends.
KEPT = 16 * 1024 * 1024
UNREADABLE = "a client certificate that is not valid DER, or has an unsupported kind of key; issue another"


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def tlv(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _length(len(content)) + content


def parts(content: bytes) -> list[bytes]:
    """The elements of a constructed one, whole."""
    found = []
    while content:
        size, header = content[1], 2
        if size & 0x80:
            header += size & 0x7F
            size = int.from_bytes(content[2:header], "big")
        found.append(content[: header + size])
        content = content[header + size :]
    return found


def inner(element: bytes) -> bytes:
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def explicit_false(tbs: bytes) -> bytes:
    """Encodes the DEFAULT of each extension that is not critical, which X.690 11.5 forbids."""
    fields = parts(inner(tbs))
    extensions = []
    for extension in parts(inner(inner(fields[-1]))):
        members = parts(inner(extension))
        if len(members) == 2:
            members.insert(1, b"\x01\x01\x00")
        extensions.append(tlv(0x30, b"".join(members)))
    fields[-1] = tlv(0xA3, tlv(0x30, b"".join(extensions)))
    return tlv(0x30, b"".join(fields))


def negative_serial(tbs: bytes) -> bytes:
    fields = parts(inner(tbs))
    fields[1] = b"\x02\x01\x80"
    return tlv(0x30, b"".join(fields))


class Forge:
    """An authority whose certificates are changed before they are signed."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self._directory = directory
        self._key = self.authority._key

    def patched(self, name: str, change: Callable[[bytes], bytes]) -> Pair:
        pair = self.authority.issue(name)
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        tbs = change(certificate.tbs_certificate_bytes)
        algorithm = parts(inner(certificate.public_bytes(serialization.Encoding.DER)))[1]
        signature = self._key.sign(tbs, ec.ECDSA(hashes.SHA256()))
        der = tlv(0x30, tbs + algorithm + tlv(0x03, b"\0" + signature))
        body = base64.encodebytes(der).decode()
        pair.certificate.write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
        return pair

    def of_key(self, name: str, key: CertificateIssuerPrivateKeyTypes, names: int = 1, padding: int = 0) -> Pair:
        now = datetime.now(UTC)
        alternatives = [x509.DNSName(f"{'a' * padding}{number}.example") for number in range(names)]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.load_pem_x509_certificate(self.authority.certificate.read_bytes()).subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pair.key.write_bytes(key.private_bytes(*pkcs8))
        return pair


def client(authority: Authority, pair: Pair) -> ssl.SSLContext:
    """Shows whatever OpenSSL can sign with."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def ask(authority: Authority, pair: Pair, port: int, source: str = "127.0.0.1") -> bytes:
    """What one request is answered, nothing where the connection ends without."""
    context = client(authority, pair)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 20, (source, 0)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(GET)
            return secured.recv(100)
    except TimeoutError:
        raise
    except OSError:
        return b""


def flood(authority: Authority, pair: Pair, port: int) -> int:
    """Sends without end, and tells how much was taken until the connection ended."""
    context = client(authority, pair)
    sent = 0
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            while sent < ENDLESS:
                sent += secured.send(b"x" * 65536)
    except TimeoutError:
        raise
    except OSError:
        pass
    return sent


def reasons(on: Serving) -> list[str]:
    return [event.message for event in events(on, EventType.REFUSED_CALLER)]


async def test_a_certificate_that_cannot_be_read_holds_no_connection(tmp_path: Path) -> None:
    forge, port = Forge(tmp_path), free_port()
    odd, honest = forge.patched("odd", explicit_false), forge.authority.issue("honest")
    with pytest.raises(ValueError, match=r"(?i)pars"):
        x509.load_pem_x509_certificate(odd.certificate.read_bytes())
    async with serving(tmp_path, api=mutual_tls(tmp_path, forge.authority, port)) as on:
        await add_client(on, "honest", honest)
        floods = [asyncio.create_task(asyncio.to_thread(flood, forge.authority, odd, port)) for _ in range(3)]
        assert b" 200 " in await asyncio.to_thread(ask, forge.authority, honest, port)
        assert all(taken < KEPT for taken in await asyncio.gather(*floods))
        assert reasons(on) == [UNREADABLE]
        assert on.api.metrics.refusals["certificate"] == 3
        form = {"name": "odd", "kind": "certificate", "certificate": odd.pem}
        assert (await on.operators.post("/callers", json=form)).status_code == 400


def _ec(curve: ec.EllipticCurve) -> Callable[[Forge], Pair]:
    return lambda forge: forge.of_key("odd", ec.generate_private_key(curve))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda forge: forge.patched("odd", negative_serial), id="negative serial"),
        pytest.param(lambda forge: forge.of_key("odd", ed25519.Ed25519PrivateKey.generate()), id="ed25519"),
        pytest.param(lambda forge: forge.of_key("odd", ed448.Ed448PrivateKey.generate()), id="ed448"),
        pytest.param(_ec(ec.BrainpoolP256R1()), id="brainpool"),
        pytest.param(_ec(ec.SECP256K1()), id="secp256k1"),
        pytest.param(lambda forge: forge.of_key("odd", dsa.generate_private_key(2048)), id="dsa"),
        pytest.param(lambda forge: forge.of_key("odd", rsa.generate_private_key(65537, 1024)), id="rsa 1024"),
        pytest.param(
            lambda forge: forge.of_key("odd", ec.generate_private_key(ec.SECP256R1()), names=100), id="100 names"
        ),
        pytest.param(
            lambda forge: forge.of_key("odd", ec.generate_private_key(ec.SECP256R1()), names=2000, padding=60),
            id="130 kilobytes",
        ),
    ],
)
async def test_an_odd_certificate_ends_in_service_or_in_a_record(tmp_path: Path, make: Callable[[Forge], Pair]) -> None:
    forge, port = Forge(tmp_path), free_port()
    odd = make(forge)
    async with serving(tmp_path, api=mutual_tls(tmp_path, forge.authority, port)) as on:
        form = {"name": "odd", "kind": "certificate", "certificate": odd.pem}
        added = await on.operators.post("/callers", json=form)
        answer = await asyncio.to_thread(ask, forge.authority, odd, port)
        if answer:
            assert added.status_code == 201
            assert b" 200 " in answer
            assert reasons(on) == []
        else:
            await eventually(lambda: bool(reasons(on)), "a refusal is on record")
            assert sum(on.api.metrics.refusals[one] for one in ("tls", "certificate")) == 1
            assert on.api.metrics.refusals["internal"] == 0


async def test_a_fault_of_ours_before_http_ends_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_transport: object) -> None:
        raise RuntimeError("planted")

    authority, port = Authority(tmp_path), free_port()
    partner = authority.issue("partner")
    async with serving(tmp_path, api=mutual_tls(tmp_path, authority, port)) as on:
        with monkeypatch.context() as planted:
            planted.setattr(tls, "tcp_peer", broken)
            assert await asyncio.to_thread(flood, authority, partner, port) < KEPT
        assert reasons(on) == ["an internal error before the request; see the journal"]
        assert on.api.metrics.refusals["internal"] == 1


async def test_a_source_that_fills_the_handshakes_loses_its_oldest(tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    partner = authority.issue("partner")
    async with serving(tmp_path, api=mutual_tls(tmp_path, authority, port)) as on:
        await add_client(on, "partner", partner)
        # Fewer than the limit of all, from as many sources as it takes to reach it.
        silent = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{number % 40 + 2}", 0))
            for number in range(400)
        ]
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        # A source of its own, and one that is shared with the crowd.
        for source in ("127.0.1.1", "127.0.0.1"):
            assert b" 200 " in await asyncio.to_thread(ask, authority, partner, port, source)
        assert on.api.metrics.refusals["handshakes"] >= 100 - tls.MOST_OF_ONE_SOURCE
        reader, _ = crowd[0]
        assert await reader.read() == b""
        assert set(reasons(on)) == {"more unfinished handshakes than one source may have under way"}
        for _, writer in silent + crowd:
            writer.close()
