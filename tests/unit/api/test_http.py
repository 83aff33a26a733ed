"""HTTP itself: sizes, times, methods, and how the server stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import stat
from collections.abc import AsyncIterator
from os import getgid
from pathlib import Path

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from appliance.api import http, protocol
from appliance.api.callers.gate import Gate
from appliance.api.http import MAX_BODY_BYTES, Application
from appliance.api.server import HttpServer
from appliance.config import CallerLimits, TimeLimits
from appliance.errors import ConfigError
from appliance.ipc.messages import Seen
from tests.unit.api.serving import CAA, serving
from tests.unit.coordinator.workers import eventually, seen, silent

TEN_MB = 10 * 1024 * 1024
NOBODY = Gate(None, CallerLimits(), lambda _: None)


async def test_methods_paths_and_types(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        wrong = await on.callers.get("/mpic")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST"
        assert (await on.callers.delete("/mpic")).status_code == 405
        assert (await on.callers.get("/nothing")).status_code == 404
        assert (await on.callers.get("/status")).status_code == 404
        assert (await on.operators.post("/status", json={})).status_code == 405
        typed = await on.callers.post("/mpic", content=b"<a/>", headers={"content-type": "text/xml"})
        assert typed.status_code == 415
        assert "error" in typed.json()


async def test_a_large_body_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        stated = await on.raw(b"POST /mpic HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % TEN_MB)
        assert stated.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in stated
        waiting = b"POST /mpic HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % TEN_MB
        assert (await on.raw(waiting)).startswith(b"HTTP/1.1 413 ")
        sent = await on.callers.post("/mpic", content=b" " * TEN_MB, headers={"content-type": "application/json"})
        assert sent.status_code == 413


async def test_a_large_body_of_unstated_length_is_refused(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1024):
            yield b" " * 10240

    async with serving(tmp_path) as on:
        response = await on.callers.post("/mpic", content=chunks(), headers={"content-type": "application/json"})
        assert response.status_code == 413


async def test_the_largest_body_is_read(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        body = json.dumps(CAA).encode()
        padded = body + b" " * (MAX_BODY_BYTES - len(body))
        response = await on.callers.post("/mpic", content=padded, headers={"content-type": "application/json"})
        assert response.status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"POST /mpic HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 100_000,
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
        b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 17_000 + b"\r\n\r\n",
        b"GET /healthz?" + b"a" * 17_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_an_endless_head_is_refused(tmp_path: Path, head: bytes) -> None:
    async with serving(tmp_path) as on:
        assert (await on.raw(head)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"hello\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /mpic HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /mpic HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /mpic HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /mpic HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(tmp_path: Path, data: bytes) -> None:
    async with serving(tmp_path) as on:
        answer = await on.raw(data, end=True)
        assert answer.startswith(b"HTTP/1.1 4")
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "data", [b"", b"POST /mpic HT", b"POST /mpic HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"]
)
async def test_a_slow_client_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.05)
    async with serving(tmp_path) as on:
        answer = await on.raw(data)
        assert answer.startswith(b"HTTP/1.1 408 " if data else b"")
        assert answer.count(b"HTTP/1.1 ") == (1 if data else 0)


async def test_a_request_that_begins_behind_another_has_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.05)
    async with serving(tmp_path) as on:
        # In one piece: the second has its head, and never its body.
        first = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        second = b"POST /mpic HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"
        answer = await on.raw(first + second)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1 408 ") == 1


CHUNKED = b"POST /mpic HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "more", "status"),
    [
        (CHUNKED + b"0\r\n", b"a: " + b"b" * 8000 + b"\r\n", b"431"),
        (CHUNKED + b"0\r\na: ", b"b" * 8000, b"413"),
        (CHUNKED, b"1;" + b"a" * 8000 + b"\r\nx\r\n", b"413"),
        # It has its answer while its body comes.
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n", b" " * 8000, b"200"),
    ],
)
async def test_what_surrounds_a_body_is_bounded(tmp_path: Path, begin: bytes, more: bytes, status: bytes) -> None:
    async with serving(tmp_path) as on:
        sent, answer = await asyncio.to_thread(_without_end, str(on.settings.api.socket), begin, more)
        assert sent < TEN_MB
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"HTTP/1.1 ") == 1


def _without_end(path: str, begin: bytes, more: bytes) -> tuple[int, bytes]:
    """How much was taken until the connection ended, and the answer."""
    sent = 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        sock.sendall(begin)
        with contextlib.suppress(ConnectionError):
            while sent < TEN_MB:
                sent += sock.send(more)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := sock.recv(1000):
                answer += data
    return sent, answer


async def test_requests_in_a_row_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        get = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        assert (await on.raw(get * 2000)).count(b"HTTP/1.1 ") <= 1
        assert on.api.metrics.refusals["pipelined"] == 1
        assert (await on.callers.get("/healthz")).status_code == 200


async def test_callers_do_not_keep_operators_out(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        held = [await asyncio.open_unix_connection(str(on.settings.api.socket)) for _ in range(8 + 256)]
        assert (await on.operators.get("/callers")).status_code == 200
        for _, writer in held:
            writer.close()


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        held = [await asyncio.open_unix_connection(str(on.settings.api.socket)) for _ in range(8 + 256)]
        assert (await on.raw(b"")).startswith(b"HTTP/1.1 503 ")
        for _, writer in held:
            writer.close()


async def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        get = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        assert (await on.raw(get * 50 + last)).count(b"HTTP/1.1 200 ") == 51


async def test_sockets_have_their_mode_and_group(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        for path in (on.settings.api.socket, on.settings.api.operator_socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert path.stat().st_gid == getgid()
        with pytest.raises(ConfigError, match="another process listens"):
            await HttpServer(1).listen(on.settings.api.socket, getgid(), Application({}, NOBODY))
    assert not on.settings.api.socket.exists()


async def test_a_stale_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    first = HttpServer(1)
    await first.listen(stale, getgid(), Application({}, NOBODY))
    await first.stop(1)
    kept = tmp_path / "file"
    kept.write_text("mine")
    with pytest.raises(ConfigError, match="not a socket"):
        await HttpServer(1).listen(kept, getgid(), Application({}, NOBODY))
    assert kept.read_text() == "mine"


async def test_stopping_finishes_what_was_accepted_and_accepts_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=TimeLimits(check_s=20, answer_s=20)) as on:
        on.stage.script(silent, "ams")
        worker = on.stage.workers["ams"]
        asked = asyncio.create_task(on.callers.post("/mpic", json=CAA))
        await eventually(lambda: bool(worker.asked), "the check is under way")
        stopping = asyncio.create_task(on.server.close(20))
        await eventually(lambda: not on.settings.api.socket.exists(), "nobody is accepted")
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_unix_connection(str(on.settings.api.socket))
        assert not stopping.done()
        assert worker.server is not None
        worker.server.broadcast(Seen(seen(worker.asked[0])))
        response = await asked
        assert response.status_code == 200
        assert response.headers["connection"] == "close"
        await stopping


class _Piece(bytes):
    """Counts the bytes that are copied where it is added to what came before."""

    copied = 0

    def __radd__(self, before: bytes) -> bytes:
        _Piece.copied += len(before)
        return bytes(before) + bytes(self)


async def test_a_body_in_single_bytes_is_not_copied_for_each_of_them() -> None:
    pieces = [_Piece(b" ")] * 20_000
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"{}", "more_body": False})
    coming = iter(messages)

    async def receive() -> dict[str, object]:
        return next(coming)

    body = await http._body({"method": "POST", "headers": [(b"content-type", b"application/json")]}, receive)
    assert body == b" " * 20_000 + b"{}"
    assert _Piece.copied < 10 * len(body)


async def test_chunks_that_come_together_are_taken_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[int] = []
    upstream = HttpToolsProtocol.on_body

    def on_body(self: HttpToolsProtocol, body: bytes) -> None:
        handed.append(len(body))
        upstream(self, body)

    monkeypatch.setattr(HttpToolsProtocol, "on_body", on_body)
    document = b" " * 5000 + json.dumps(CAA).encode()
    head = b"POST /mpic HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % octet for octet in document)
    async with serving(tmp_path) as on:
        answer = await on.raw(head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert sum(handed) == len(document)
    assert len(handed) < 100, "a chunk each would be 5,000"
