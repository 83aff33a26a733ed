"""Rounds on the channel: each reply is to what was asked, or the connection goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from os import getuid
from pathlib import Path

import msgspec
import pytest

from appliance.errors import ChannelClosed
from appliance.ipc import Connection, WorkerChannel, serve
from appliance.ipc.channel import RoundRefused, WrongReply
from appliance.ipc.messages import AskRound, FromWorker, RefusedRound, SeenRound, ToWorker
from appliance.model.rov import Probe, ProbeOutcome, RoundRequest, RoundSeen, Target

TARGET = Target("https://i.example/")
REQUEST = RoundRequest("r1", "ams", 4, TARGET, TARGET, 1000, 1000)
PROBE = Probe(ProbeOutcome.REACHED, "198.51.100.1", 1)
SEEN = RoundSeen("r1", "ams", 4, "2026-11-21T12:00:00Z", PROBE, before=PROBE, after=PROBE)


async def ask(path: Path, reply: Callable[[Connection], None]) -> tuple[RoundSeen, list[str]]:
    """What comes of one round at a worker that replies so."""
    faults: list[str] = []

    def on_message(connection: Connection, message: ToWorker) -> None:
        assert isinstance(message, AskRound)
        reply(connection)

    server = await serve(path, [getuid()], on_message)
    channel = WorkerChannel(path, "ams", getuid(), on_fault=faults.append)
    channel.start()
    try:
        async with asyncio.timeout(10):
            while not channel.connected:  # noqa: ASYNC110 -- a property, not an event
                await asyncio.sleep(0.005)
            return await channel.ask_round(REQUEST), faults
    finally:
        await channel.close()
        server.close()


def sends(message: FromWorker) -> Callable[[Connection], None]:
    return lambda connection: connection.send(message)


async def test_a_reply_to_what_was_asked(tmp_path: Path) -> None:
    assert await ask(tmp_path / "s", sends(SeenRound(SEEN))) == (SEEN, [])


@pytest.mark.parametrize(
    "wrong",
    [
        msgspec.structs.replace(SEEN, perspective="nyc"),
        msgspec.structs.replace(SEEN, version=6),
        msgspec.structs.replace(SEEN, after=None),
    ],
)
async def test_a_reply_to_something_else_is_an_error(tmp_path: Path, wrong: RoundSeen) -> None:
    with pytest.raises(WrongReply):
        await ask(tmp_path / "s", sends(SeenRound(wrong)))


async def test_a_refusal_says_why(tmp_path: Path) -> None:
    with pytest.raises(RoundRefused, match="the path broke"):
        await ask(tmp_path / "s", sends(RefusedRound("r1", "ams", "the path broke")))


async def test_a_worker_that_goes_away_leaves_nobody_waiting(tmp_path: Path) -> None:
    with pytest.raises(ChannelClosed):
        await ask(tmp_path / "s", lambda connection: connection.fail("gone"))
