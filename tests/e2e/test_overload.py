"""Far more requests than can be decided at once, and an end in the midst of them: answered or refused, never left hanging."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.asking import caa, decide
from tests.lab import wait_until
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

THOUSAND = 1000
IN_FLIGHT = 20
_LIMIT_S = 200.0


@dataclass(frozen=True)
class Answer:
    """One response: its status, whether it says when to come back, and its document."""

    status: int
    retry_after: bool
    document: dict[str, Any]


async def _ask(appliance: Appliance, question: dict[str, Any]) -> Answer:
    body = json.dumps(question).encode()
    head = b"POST /mpic HTTP/1.1\r\nhost: mpic\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    loop, answer = asyncio.get_running_loop(), b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, str(appliance.settings.api.socket))
        # A refusal can come, and the connection end, before the request is sent; what came is there to be read.
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(sock, head + body)
        async with asyncio.timeout(_LIMIT_S):
            with contextlib.suppress(ConnectionError):
                while chunk := await loop.sock_recv(sock, 65536):
                    answer += chunk
    top, _, document = answer.partition(b"\r\n\r\n")
    return Answer(int(top.split(b" ", 2)[1]), b"\r\nretry-after: " in top, json.loads(document))


async def _ask_at_once(appliance: Appliance, count: int) -> list[Answer]:
    return await asyncio.gather(*(_ask(appliance, caa("free.example")) for _ in range(count)))


def _sample(appliance: Appliance, name: str) -> int:
    lines = appliance.ask("GET", "/metrics", operator=True).text.splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith(name) and line[len(name)] in " {")


@contextlib.contextmanager
def _stopped_workers(appliance: Appliance) -> Iterator[None]:
    """No worker answers until the end."""
    pids = [appliance.pid(f"worker-{code}") for code in appliance.codes]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(600)
def test_a_thousand_requests_at_once_are_answered_or_refused(appliance: Appliance) -> None:
    most = appliance.settings.api.concurrent_requests
    before = _sample(appliance, "mpic_requests_refused_total")

    def refused() -> int:
        return _sample(appliance, "mpic_requests_refused_total") - before

    async def asked() -> list[Answer]:
        asking = asyncio.create_task(_ask_at_once(appliance, THOUSAND))
        with _stopped_workers(appliance):
            # While nothing can be answered: who is refused is refused at once.
            rest = THOUSAND - most
            await asyncio.to_thread(
                wait_until, lambda: refused() >= rest or asking.done(), _LIMIT_S, "the rest are refused"
            )
        return await asking

    answers = asyncio.run(asked())
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) == {200, 503}, statuses
    # On a machine that is busy elsewhere some records are not on disk in time: no decision, which says so.
    assert statuses[200] >= most // 2, statuses
    assert all(answer.retry_after for answer in answers if answer.status == 503)
    assert all("receipt" in answer.document for answer in answers if answer.status == 200)
    assert decide(appliance, caa("free.example"))["is_valid"] is True, "and it is as before at once"
    assert refused() == statuses[503]
    assert _sample(appliance, "mpic_requests_in_flight") == 0


def test_what_was_accepted_is_answered_before_the_end(appliance: Appliance) -> None:
    async def asked() -> list[Answer]:
        asking = asyncio.create_task(_ask_at_once(appliance, IN_FLIGHT))
        with _stopped_workers(appliance):
            await asyncio.to_thread(
                wait_until, lambda: _sample(appliance, "mpic_requests_in_flight") == IN_FLIGHT, 30, "all are accepted"
            )
            os.kill(appliance.pid("mpicd"), signal.SIGTERM)
            await asyncio.to_thread(wait_until, lambda: not appliance.settings.api.socket.exists(), 30, "nobody more")
        return await asking

    try:
        answers = asyncio.run(asked())
    finally:
        wait_until(lambda: "mpicd" in appliance.ended(), 30, "the coordinator ends")
        appliance.start_coordinator()
        wait_until(appliance.ready, 30, "the coordinator is back")
    assert [answer.status for answer in answers] == [200] * IN_FLIGHT
    assert all(answer.document["is_valid"] for answer in answers)
    seqs = sorted(answer.document["receipt"]["seq"] for answer in answers)
    assert len(set(seqs)) == IN_FLIGHT
    newest = appliance.ask("GET", f"/evidence?after={seqs[0] - 1}", operator=True).json()
    assert newest["after"] >= seqs[-1]
