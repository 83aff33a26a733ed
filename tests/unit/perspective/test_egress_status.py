"""What an egress node says of itself: bounded, of its form or nothing, and never a reason to be ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from appliance.errors import UNDECODABLE
from appliance.model.egress import EgressStatus
from appliance.perspective import egress_status
from appliance.perspective.assignment import Assignment, assignment_of
from appliance.perspective.egress_status import EgressWatch, ask
from tests.unit.perspective.configured import settings

SAID: dict[str, Any] = {
    "version": "0.1.0",
    "kernel": "6.1.0",
    "written_s": 5,
    "problems": [],
    "warnings": ["clock: not synchronised"],
    "tunnel": {"interface": "wg0", "backend": "kernel", "name": "appliance", "of_tomorrow": 1},
    "of_tomorrow": [1.5],
}


@asynccontextmanager
async def node(*answers: bytes | None) -> AsyncIterator[int]:
    """A server's port; each connection gets the next answer, the last one again and again; None: silence."""
    given = list(answers)
    opened: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        answer = given.pop(0) if len(given) > 1 else given[0]
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for writer in opened:
            writer.transport.abort()
        await asyncio.sleep(0)


def assignment(port: int | None) -> Assignment:
    return msgspec.structs.replace(assignment_of(settings(), "home"), far_addresses=("127.0.0.1",), status_port=port)


async def test_what_it_says_is_read_and_what_is_new_left_out() -> None:
    async with node(json.dumps(SAID).encode()) as port:
        said = await ask("127.0.0.1", port)
    assert (said.kernel, said.tunnel.backend, said.warnings) == ("6.1.0", "kernel", ("clock: not synchronised",))
    assert said.security_updates is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"HTTP/1.1 200 OK\r\n\r\n",
        json.dumps(SAID | {"problems": ["x" * 201]}).encode(),
        json.dumps(SAID | {"problems": ["x"] * 21}).encode(),
        json.dumps(SAID | {"written_s": -1}).encode(),
        b'{"version": "\xff"}',
        b"[" * 16000,
        json.dumps(SAID | {"written_s": 2**60}).encode(),
        json.dumps(SAID | {"more": "x" * 17000}).encode(),
        b" " * 10_000_000,
    ],
)
async def test_what_is_not_of_its_form_or_too_long_is_nothing(answer: bytes) -> None:
    async with node(answer) as port:
        with pytest.raises((*UNDECODABLE, OSError)):
            await ask("127.0.0.1", port)


async def test_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_status, "_ASK_S", 0.1)
    async with node(None) as port:
        with pytest.raises(TimeoutError):
            await ask("127.0.0.1", port)


async def test_an_answer_counts_until_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_status, "INTERVAL_S", 0.01)
    monkeypatch.setattr(egress_status, "_SOON_S", 0.01)
    said: asyncio.Queue[EgressStatus | None] = asyncio.Queue()
    async with node(b'{"version": "\xff"}', json.dumps(SAID).encode(), b'{"version": "\xff"}') as port:
        watch = EgressWatch(assignment(port), lambda: True)
        running = asyncio.create_task(watch.run(lambda: said.put_nowait(watch.said())))
        try:
            async with asyncio.timeout(30):
                first = await said.get()
                assert first is not None
                assert first.kernel == "6.1.0"
                assert await said.get() is None
        finally:
            running.cancel()


@pytest.mark.parametrize(("usable", "asked_at_all"), [(lambda: False, True), (lambda: True, False)])
async def test_nobody_is_asked_without_a_path_or_a_port(usable: Callable[[], bool], asked_at_all: bool) -> None:
    asked = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1] if asked_at_all else None
        running = asyncio.create_task(EgressWatch(assignment(port), usable).run(lambda: None))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asked.is_set()
        assert not running.done()
        running.cancel()
