"""A round of route origin validation is answered once, and not with what was seen over a path that broke."""

from __future__ import annotations

import asyncio

import msgspec

from appliance.ipc.messages import AskRound, FromWorker, RefusedRound, SeenRound
from appliance.ipc.server import Connection
from appliance.model.check import CheckRequest
from appliance.model.observation import CheckError, Fault, Observation
from appliance.model.rov import Probe, ProbeOutcome, RoundRequest, RoundSeen, Target
from appliance.perspective.worker import Worker

DOWN = CheckError("perspective.tunnel_down", "interface wg-ams is missing", "confinement", Fault.PERSPECTIVE)
REQUEST = RoundRequest("r1", "ams", 4, Target("https://i.example/"), None, 1000, 1000)


class _Connection(Connection):
    def __init__(self) -> None:
        self.told: list[FromWorker] = []
        self.faults: list[str] = []

    def send(self, message: FromWorker) -> None:
        self.told.append(message)

    def fail(self, text: str) -> None:
        self.faults.append(text)


class _Bench:
    def __init__(self) -> None:
        self.connection = _Connection()
        self.epoch = 0
        self.refusal: CheckError | None = None
        self.broken = False
        self.finish = asyncio.Event()
        self.worker = Worker(
            "ams", self._run, lambda: (self.epoch, self.refusal), capacity=1, longest_s=1.0, probe=self._probe
        )

    async def _run(self, request: CheckRequest) -> Observation:
        raise NotImplementedError

    async def _probe(self, request: RoundRequest) -> RoundSeen:
        await self.finish.wait()
        if self.broken:
            raise ZeroDivisionError
        probe = Probe(ProbeOutcome.BLOCKED, "198.51.100.1", 1)
        return RoundSeen(request.request_id, "ams", 4, "2026-11-21T12:00:00Z", probe)

    async def answer(self, request: RoundRequest = REQUEST) -> FromWorker:
        self.worker.told(self.connection, AskRound(request))
        await asyncio.sleep(0)
        self.finish.set()
        async with asyncio.timeout(5):
            while not self.connection.told:  # noqa: ASYNC110 -- a list, not an event
                await asyncio.sleep(0)
        return self.connection.told[0]


async def test_what_was_seen_is_told() -> None:
    told = await _Bench().answer()
    assert isinstance(told, SeenRound)
    assert told.seen.invalid.outcome is ProbeOutcome.BLOCKED


async def test_a_worker_that_may_not_answer_does_not_probe() -> None:
    bench = _Bench()
    bench.refusal = DOWN
    assert await bench.answer() == RefusedRound("r1", "ams", DOWN.message)


async def test_a_path_that_broke_meanwhile_is_no_filtering() -> None:
    bench = _Bench()
    bench.worker.told(bench.connection, AskRound(REQUEST))
    bench.epoch += 1
    told = await bench.answer(msgspec.structs.replace(REQUEST, request_id="r2"))
    assert told == RefusedRound("r1", "ams", "the path broke during the round")


async def test_a_bug_is_told_and_not_silent() -> None:
    bench = _Bench()
    bench.broken = True
    assert await bench.answer() == RefusedRound("r1", "ams", "unexpected ZeroDivisionError")


async def test_another_perspectives_round_breaks_the_rules() -> None:
    bench = _Bench()
    bench.worker.told(bench.connection, AskRound(msgspec.structs.replace(REQUEST, perspective="nyc")))
    assert bench.connection.faults == ["asked for perspective nyc, this is ams"]
    assert bench.connection.told == []
