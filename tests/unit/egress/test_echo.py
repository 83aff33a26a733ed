"""`mpic-echo`: only its key's holder can answer, and nothing else gets an answer."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from appliance.net import echo as client
from egress import echo
from egress.errors import ConfigError

KEY = Ed25519PrivateKey.generate()


def test_the_appliance_and_the_egress_node_mean_the_same_datagram() -> None:
    nonce = os.urandom(client.NONCE_BYTES)
    request = client.request_datagram(nonce)
    reply = echo.answer(request, KEY)
    assert reply is not None
    assert len(reply) == len(request), "no amplification"
    assert client.nonce_of(reply) == nonce
    assert client.is_signed(reply, KEY.public_key())
    assert not client.is_signed(reply, Ed25519PrivateKey.generate().public_key())
    assert not client.is_signed(request, KEY.public_key()), "a request sent back is no reply"
    assert not client.is_signed(reply[:-1] + bytes([reply[-1] ^ 1]), KEY.public_key())


@given(st.binary(max_size=200))
def test_what_is_no_request_gets_no_answer(datagram: bytes) -> None:
    assert echo.answer(datagram, KEY) is None
    assert client.nonce_of(datagram) is None


def test_an_answer_is_never_answered() -> None:
    reply = echo.answer(client.request_datagram(os.urandom(client.NONCE_BYTES)), KEY)
    assert reply is not None
    assert echo.answer(reply, Ed25519PrivateKey.generate()) is None
    request = client.request_datagram(os.urandom(client.NONCE_BYTES))
    for other in (request[:-1] + b"\1", request[:40] + b"\1" + request[41:], request + b"\0", request[:-1]):
        assert echo.answer(other, KEY) is None


def test_a_source_gets_its_share_and_no_more() -> None:
    sources = echo.Sources(per_second=10, burst=20, most=100)
    assert sum(sources.admit("198.18.0.1", 5.0) for _ in range(1000)) == 20
    assert sources.admit("198.18.0.2", 5.0), "another source is not held back"
    # What was refused costs nothing: the share comes back as if nobody had asked.
    assert sum(sources.admit("198.18.0.1", 6.0) for _ in range(1000)) == 10
    assert sum(sources.admit("198.18.0.1", 5000.0) for _ in range(1000)) == 20


def test_a_source_is_an_ipv4_address_or_a_64() -> None:
    sources = echo.Sources(per_second=1, burst=1)
    assert [sources.admit(one, 0.0) for one in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")] == [True, False, True]
    assert [sources.admit(one, 0.0) for one in ("::ffff:198.18.0.1", "::ffff:198.18.0.2", "198.18.0.1")] == [
        True,
        True,
        False,
    ]
    assert [sources.admit(one, 0.0) for one in ("fe80::1%2", "fe80::1%3")] == [True, False]


def test_forged_sources_lock_nobody_out_and_take_no_memory() -> None:
    sources = echo.Sources(per_second=1, burst=2, most=100)
    for number in range(10_000):
        assert sources.admit(f"198.18.{number >> 8}.{number & 255}", 0.0)
        assert len(sources) <= 100
    assert sources.admit("198.19.0.1", 0.0), "who was never seen is served while the table is full"


def test_a_flood_from_one_source_is_not_answered_in_full_and_others_are() -> None:
    opened = echo.listening("127.0.0.1", 0)
    threading.Thread(target=echo.serve, args=(opened, KEY), daemon=True).start()
    answers = 0
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as honest,
    ):
        for asker, address in ((flood, "127.0.0.1"), (honest, "127.0.0.2")):
            asker.bind((address, 0))
            asker.connect(opened.getsockname())
            asker.settimeout(10)
        flood.setblocking(False)
        for _ in range(20):
            for _ in range(50):
                flood.send(client.request_datagram(os.urandom(client.NONCE_BYTES)))
            # The server takes one after the other: the flood is dealt with once this is answered.
            nonce = os.urandom(client.NONCE_BYTES)
            honest.send(client.request_datagram(nonce))
            assert client.nonce_of(honest.recv(1000)) == nonce
            with contextlib.suppress(BlockingIOError):
                while flood.recv(1000):
                    answers += 1
    assert echo.BURST <= answers < 1000


def test_serving() -> None:
    opened = echo.listening("127.0.0.1", 0)
    threading.Thread(target=echo.serve, args=(opened, KEY), daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(10)
        asker.connect(opened.getsockname())
        asker.send(b"rubbish")
        nonce = os.urandom(client.NONCE_BYTES)
        asker.send(client.request_datagram(nonce))
        reply = asker.recv(1000)
    assert client.nonce_of(reply) == nonce
    assert client.is_signed(reply, KEY.public_key())


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "echo.key"
    public = echo.keygen(path)
    assert echo.keygen(path) == public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert base64.b64decode(public) == echo.read_key(path).public_key().public_bytes_raw()
    client.public_key(public)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="0600"):
        echo.read_key(path)
    path.chmod(0o600)
    path.write_text("not a key")
    with pytest.raises(ConfigError, match="keygen"):
        echo.read_key(path)
