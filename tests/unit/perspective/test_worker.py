"""Each question gets exactly one observation, in time, and a match only where the path held from before to after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from appliance.ipc.messages import MAX_FRAME_BYTES, Ask, Cancel, FromWorker, Seen
from appliance.ipc.server import Connection
from appliance.model.check import AcmeDns01Check, CheckRequest, Method
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import CheckError, Fault, Observation, Outcome
from appliance.model.rov import Probe, ProbeOutcome, RoundRequest, RoundSeen
from appliance.perspective.worker import Worker

LIMIT_S = 10.0
DOWN = CheckError("perspective.tunnel_down", "interface wg-ams is missing", "confinement", Fault.PERSPECTIVE)


class _Connection(Connection):
    """Keeps what was sent; like the real one it refuses what is too large."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.faults: list[str] = []

    def send(self, message: FromWorker) -> None:
        from appliance.ipc.framing import encode  # noqa: PLC0415 -- the real one's limit

        encode(message)
        assert isinstance(message, Seen)
        self.seen.append(message.observation)

    def fail(self, text: str) -> None:
        self.faults.append(text)


def _request(number: int = 1, *, deadline_ms: int = 5000, perspective: str = "ams") -> CheckRequest:
    identifier = Identifier(IdentifierType.DNS, "example.org", wildcard=False, requested="example.org")
    return CheckRequest(f"r{number}", perspective, identifier, AcmeDns01Check("x"), deadline_ms)


def _match(request: CheckRequest) -> Observation:
    started_at = "2026-01-01T00:00:00.000000Z"
    return Observation(
        request.request_id, "ams", Method.ACME_DNS_01, Outcome.MATCH, True, started_at, 1, seen=("value",)
    )


class _Bench:
    """A worker whose checks end when told, and whose gate says what it is told to say."""

    def __init__(self, run: Callable[[CheckRequest], Awaitable[Observation]] | None = None, capacity: int = 10) -> None:
        self.connection = _Connection()
        self.epoch = 0
        self.refusal: CheckError | None = None
        self.finish = asyncio.Event()
        self.started: list[str] = []
        self.worker = Worker(
            "ams",
            run or self._run,
            lambda: (self.epoch, self.refusal),
            capacity=capacity,
            longest_s=LIMIT_S,
            probe=self._probe,
        )

    async def _probe(self, request: RoundRequest) -> RoundSeen:
        await self.finish.wait()
        reached = Probe(ProbeOutcome.REACHED, "198.51.100.1", 1)
        return RoundSeen(request.request_id, request.perspective, request.version, "2026-11-21T12:00:00Z", reached)

    async def _run(self, request: CheckRequest) -> Observation:
        self.started.append(request.request_id)
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            return msgspec.structs.replace(_match(request), outcome=Outcome.ERROR, corroborates=False)
        return _match(request)

    async def ask(self, request: CheckRequest) -> None:
        self.worker.told(self.connection, Ask(request))
        await asyncio.sleep(0)

    async def answered(self, count: int = 1) -> list[Observation]:
        async with asyncio.timeout(LIMIT_S):
            while len(self.connection.seen) < count:  # noqa: ASYNC110 -- a list, not an event
                await asyncio.sleep(0.005)
        return self.connection.seen


def _only(observations: list[Observation]) -> Observation:
    assert len(observations) == 1
    return observations[0]


async def test_a_match_on_a_path_that_held_is_passed_on() -> None:
    bench = _Bench()
    await bench.ask(_request())
    bench.finish.set()
    assert _only(await bench.answered()) == _match(_request())
    assert bench.worker.in_flight == 0


async def test_nothing_runs_while_the_gate_refuses() -> None:
    bench = _Bench()
    bench.refusal = DOWN
    await bench.ask(_request())
    observation = _only(await bench.answered())
    assert observation.errors == (DOWN,)
    assert observation.outcome is Outcome.ERROR
    assert bench.started == []


@pytest.mark.parametrize("change", ["refused after", "broken and mended"])
async def test_a_match_does_not_corroborate_where_the_path_did_not_hold(change: str) -> None:
    bench = _Bench()
    await bench.ask(_request())
    if change == "refused after":
        bench.refusal = DOWN
    else:
        bench.epoch += 1
    bench.finish.set()
    observation = _only(await bench.answered())
    assert (observation.outcome, observation.corroborates) == (Outcome.ERROR, False)
    assert observation.errors[-1].code == "perspective.tunnel_down"
    assert observation.seen == ("value",)


async def test_a_break_ends_what_is_in_flight_at_once() -> None:
    bench = _Bench()
    await bench.ask(_request(1))
    await bench.ask(_request(2))
    bench.epoch += 1
    bench.worker.broken()
    observations = await bench.answered(2)
    assert {o.outcome for o in observations} == {Outcome.ERROR}
    assert {o.errors[-1].code for o in observations} == {"perspective.tunnel_down"}
    assert not bench.finish.is_set()


async def test_cancel_answers_with_what_was_seen_and_only_once() -> None:
    bench = _Bench()
    await bench.ask(_request())
    bench.worker.told(bench.connection, Cancel("r1"))
    bench.worker.told(bench.connection, Cancel("r1"))
    bench.worker.told(bench.connection, Cancel("unknown"))
    assert _only(await bench.answered()).seen == ("value",)
    bench.finish.set()
    await asyncio.sleep(0)
    assert len(bench.connection.seen) == 1


async def test_beyond_capacity_a_question_is_refused_at_once() -> None:
    bench = _Bench(capacity=2)
    for number in range(3):
        await bench.ask(_request(number))
    assert _only(await bench.answered()).errors[0].code == "perspective.overloaded"
    bench.finish.set()
    assert len(await bench.answered(3)) == 3


async def test_a_check_that_ignores_its_deadline_is_answered_and_goes_on_counting() -> None:
    async def deaf(_: CheckRequest) -> Observation:
        while True:
            try:
                await asyncio.sleep(LIMIT_S)
            except asyncio.CancelledError:
                if let_go:
                    raise

    let_go: list[bool] = []
    bench = _Bench(deaf)
    await bench.ask(_request(deadline_ms=10))
    task = next(iter(bench.worker._in_flight.values())).task
    observation = _only(await bench.answered())
    assert observation.errors[0].code == "check.deadline"
    assert observation.errors[0].fault is Fault.APPLIANCE
    assert bench.worker.in_flight == 1
    let_go.append(True)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert bench.worker.in_flight == 0


async def test_an_unexpected_exception_is_no_corroboration_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def buggy(_: CheckRequest) -> Observation:
        raise ZeroDivisionError("a bug")

    bench = _Bench(buggy)
    await bench.ask(_request())
    observation = _only(await bench.answered())
    assert observation.errors[0].code == "check.unexpected"
    assert observation.errors[0].fault is Fault.APPLIANCE
    assert "a bug" in caplog.text


async def test_an_observation_too_large_for_a_frame_is_sent_without_its_evidence() -> None:
    async def huge(request: CheckRequest) -> Observation:
        return msgspec.structs.replace(_match(request), seen=("x" * MAX_FRAME_BYTES,))

    bench = _Bench(huge)
    await bench.ask(_request())
    observation = _only(await bench.answered())
    assert observation.errors[-1].code == "perspective.observation_too_large"
    assert not observation.corroborates


async def test_questions_that_no_coordinator_asks_break_the_connection() -> None:
    bench = _Bench()
    await bench.ask(_request(perspective="nyc"))
    await bench.ask(_request())
    await bench.ask(_request())
    assert "perspective nyc" in bench.connection.faults[0]
    assert "asked twice" in bench.connection.faults[1]
    assert bench.started == ["r1"]
    bench.finish.set()
    await bench.answered()


async def test_when_the_coordinator_goes_its_checks_end() -> None:
    bench = _Bench()
    await bench.ask(_request())
    bench.worker.gone(bench.connection)
    await bench.answered()
    assert bench.worker.in_flight == 0


async def test_draining_answers_everything() -> None:
    bench = _Bench()
    for number in range(5):
        await bench.ask(_request(number))
    await bench.worker.drain(0.01)
    assert len(bench.connection.seen) == 5
    assert all(not o.corroborates for o in bench.connection.seen)
