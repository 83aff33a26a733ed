"""`mpic-echo`: only its key's holder can answer, and nothing else gets an answer."""

from __future__ import annotations

import base64
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
