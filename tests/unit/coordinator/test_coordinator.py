"""Decisions over workers that agree, dissent, stall, die and lie."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from appliance.config import ClockConfig, TimeLimits
from appliance.coordinator.decision import Decision
from appliance.coordinator.gather import Waits, wait_for
from appliance.coordinator.identifiers import parse_identifier
from appliance.coordinator.proofs import Standing
from appliance.coordinator.question import Orchestration, Question
from appliance.coordinator.timekeeping import ClockNotTrusted
from appliance.errors import BadRequest, EvidenceUnavailable
from appliance.evidence.record import (
    Arrival,
    Attempt,
    CallerStatement,
    DecisionRecord,
    EventRecord,
    EventType,
    InForce,
    utc_text,
)
from appliance.ipc import Connection
from appliance.ipc.messages import Seen
from appliance.linux.clock import ClockState
from appliance.model.check import CaaCheck, CertificateType, CheckRequest
from appliance.model.observation import Fault, Outcome
from appliance.model.tunnel import Backend, TunnelReport, TunnelState, TunnelStatus
from tests.unit.coordinator.workers import (
    CODES,
    NOW,
    FakeWorker,
    Stage,
    die,
    eventually,
    impostor,
    mismatch,
    seen,
    silent,
    stage,
)


def question(
    *, orchestration: Orchestration | None = None, name: str = "example.com", stated: bool | None = None
) -> Question:
    return Question(
        identifier=parse_identifier(name),
        check=CaaCheck(CertificateType.TLS_SERVER, ("ca.example",)),
        orchestration=orchestration or Orchestration(),
        trace_identifier="trace-1",
        caller_statement=None if stated is None else CallerStatement(stated),
        caller="unix uid 0",
        body="{}",
    )


def part(decision: Decision, code: str) -> Attempt:
    own = [decision.last.primary] if decision.last.primary else []
    return next(attempt for attempt in (*own, *decision.last.remotes) if attempt.perspective == code)


def decisions(on: Stage) -> list[DecisionRecord]:
    return [record for record in on.evidence.records if isinstance(record, DecisionRecord)]


def events(on: Stage, kind: EventType) -> list[EventRecord]:
    return [record for record in on.evidence.records if isinstance(record, EventRecord) and record.type is kind]


async def test_agreement_is_valid_and_recorded_before_it_is_given(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        decision = await on.coordinator.decide(question())
        assert decision.last.verdict.is_valid
        assert decision.last.verdict.quorum == "6/6"
        assert [attempt.perspective for attempt in decision.last.remotes] == list(CODES)
        (record,) = decisions(on)
        assert decision.receipt.seq == on.evidence.records.index(record) + 1
        assert record.verdict == decision.last.verdict
        assert record.br_section == "3.2.2.8"
        assert all(len(worker.asked) == 1 for worker in on.workers.values())


@pytest.mark.parametrize(("dissenting", "valid"), [(CODES[:2], True), (CODES[:3], False), (("home",), False)])
async def test_dissent(tmp_path: Path, dissenting: tuple[str, ...], valid: bool) -> None:
    async with stage(tmp_path) as on:
        on.script(mismatch, *dissenting)
        decision = await on.coordinator.decide(question())
        assert decision.last.verdict.is_valid is valid
        for code in dissenting:
            assert part(decision, code).observation.outcome is Outcome.MISMATCH


async def test_a_silent_perspective_does_not_hold_a_known_decision(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=TimeLimits(check_s=30, answer_s=60, straggler_s=0.05)) as on:
        on.script(silent, "nyc")
        decision = await asyncio.wait_for(on.coordinator.decide(question()), 20)
        late = part(decision, "nyc")
        assert decision.last.verdict.quorum == "5/6"
        assert decision.last.verdict.is_valid
        assert late.arrival is Arrival.LATE
        assert on.workers["nyc"].cancelled == [late.observation.request_id]


async def test_where_all_is_slow_a_late_one_is_heard() -> None:
    loop = asyncio.get_running_loop()
    first, late, never = (loop.create_future() for _ in range(3))
    began_s = loop.time()

    def slow() -> None:
        first.set_result(None)
        loop.call_later(loop.time() - began_s, late.set_result, None)

    loop.call_later(0.05, slow)
    answers = {"one": first, "two": late, "three": never}
    await asyncio.wait_for(wait_for(answers, first.done, Waits(60, 0, 0)), 20)
    assert late.done()
    assert not never.done()


async def test_who_is_far_away_is_given_its_time(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=TimeLimits(check_s=30, answer_s=60, straggler_s=0)) as on:
        worker = on.workers["nyc"]
        worker.path_rtt_us = 6_000_000
        worker.say()
        await eventually(lambda: on.coordinator.perspectives.worker("nyc") == worker.status, "nyc is far away")
        on.script(silent, "nyc")
        deciding = asyncio.create_task(on.coordinator.decide(question()))
        await eventually(lambda: bool(worker.asked), "nyc is asked")
        await asyncio.sleep(0.3)  # on the way, when the others have long answered
        assert worker.server is not None
        worker.server.broadcast(Seen(seen(worker.asked[0])))
        assert (await deciding).last.verdict.quorum == "6/6"


async def test_an_undecided_quorum_waits_for_the_straggler(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=TimeLimits(check_s=20, answer_s=20, straggler_s=0)) as on:
        on.script(mismatch, "ams", "tyo")
        on.script(silent, "nyc")
        deciding = asyncio.create_task(on.coordinator.decide(question()))
        worker = on.workers["nyc"]
        await eventually(lambda: bool(worker.asked), "nyc is asked")
        assert not deciding.done()
        assert worker.server is not None
        worker.server.broadcast(Seen(seen(worker.asked[0])))
        decision = await deciding
        assert decision.last.verdict.quorum == "4/6"
        assert decision.last.verdict.is_valid


async def test_all_silent_is_answered_within_the_limit(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=TimeLimits(check_s=0.2, answer_s=0.2)) as on:
        on.script(silent, *on.workers)
        for worker in on.workers.values():
            worker.answers_cancel = False
        decision = await asyncio.wait_for(on.coordinator.decide(question()), 20)
        assert not decision.last.verdict.is_valid
        assert {attempt.arrival for attempt in decision.last.remotes} == {Arrival.LATE}
        assert part(decision, "ams").observation.errors[0].code == "coordinator.late"


async def test_what_comes_after_the_answer_is_recorded(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=TimeLimits(check_s=0.2, answer_s=0.2)) as on:
        on.script(silent, "nyc")
        worker = on.workers["nyc"]
        worker.answers_cancel = False
        await on.coordinator.decide(question())
        assert worker.server is not None
        worker.server.broadcast(Seen(seen(worker.asked[0])))
        await eventually(lambda: bool(events(on, EventType.LATE_OBSERVATION)), "the late observation is recorded")
        (event,) = events(on, EventType.LATE_OBSERVATION)
        assert event.subject == "nyc"
        assert event.observation is not None


async def test_a_worker_that_dies_mid_check_is_not_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=TimeLimits(check_s=30, answer_s=60)) as on:
        on.script(die, "gru")
        decision = await asyncio.wait_for(on.coordinator.decide(question()), 20)
        lost = part(decision, "gru")
        assert decision.last.verdict.quorum == "5/6"
        assert (lost.arrival, lost.observation.errors[0].code) == (Arrival.UNREACHABLE, "perspective.lost")
        assert lost.observation.errors[0].fault is Fault.PERSPECTIVE


async def test_a_reply_in_another_name_is_our_fault_and_counts_against(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.script(impostor, "ams")
        decision = await on.coordinator.decide(question())
        wrong = part(decision, "ams")
        assert decision.last.verdict.quorum == "5/6"
        assert (wrong.arrival, wrong.observation.errors[0].fault) == (Arrival.FAULTY, Fault.APPLIANCE)
        assert wrong.rejected is not None
        assert "names perspective nyc" in wrong.rejected


def _tunnel(code: str, state: TunnelState, inode: int = 7) -> TunnelStatus:
    return TunnelStatus(code, "ns", inode, "wg0", Backend.KERNEL, state, "no handshake", "192.0.2.1:51820", 0, 0, 0)


def _publish(path: Path, *tunnels: TunnelStatus) -> None:
    path.with_suffix(".new").write_bytes(msgspec.json.encode(TunnelReport(0, tunnels)))
    path.with_suffix(".new").rename(path)


async def test_known_to_be_down_is_neither_asked_nor_waited_for(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=TimeLimits(check_s=30, answer_s=60, straggler_s=10)) as on:
        _publish(on.tunnel_report, _tunnel("ams", TunnelState.DOWN), _tunnel("nyc", TunnelState.UP))
        on.workers["tyo"].ready = False
        on.workers["tyo"].say()
        perspectives = on.coordinator.perspectives
        await eventually(lambda: perspectives.down("tyo") is not None, "tyo says that it is not ready")
        decision = await asyncio.wait_for(on.coordinator.decide(question()), 20)
        assert decision.last.verdict.quorum == "4/6"
        assert "no handshake" in part(decision, "ams").observation.errors[0].message
        assert "default route" in part(decision, "tyo").observation.errors[0].message
        assert not on.workers["ams"].asked
        assert not on.workers["tyo"].asked


async def test_a_worker_in_another_namespace_than_its_tunnel_is_not_asked(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        _publish(on.tunnel_report, _tunnel("ams", TunnelState.UP, inode=8))
        decision = await on.coordinator.decide(question())
        assert decision.last.verdict.quorum == "5/6"
        assert "another network namespace" in part(decision, "ams").observation.errors[0].message


async def test_without_evidence_there_is_no_answer(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.evidence.failing = EvidenceUnavailable("disk full")
        with pytest.raises(EvidenceUnavailable):
            await on.coordinator.decide(question())
        on.evidence.failing, on.evidence.silent = None, True
        with pytest.raises(EvidenceUnavailable, match="in time"):
            await asyncio.wait_for(on.coordinator.decide(question()), 20)


async def test_attempts_are_fresh_and_each_is_recorded(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.script(_mismatch_once, *CODES)
        decision = await on.coordinator.decide(question(orchestration=Orchestration(max_attempts=3)))
        assert decision.last.verdict.is_valid
        assert [judged.verdict.quorum for judged in decision.attempts] == ["0/6", "6/6"]
        assert [record.verdict.is_valid for record in decisions(on)] == [False, True]
        requests = [request.request_id for request in on.workers["home"].asked]
        assert len(set(requests)) == 2


def _mismatch_once(worker: FakeWorker, connection: Connection, request: CheckRequest) -> None:
    outcome = Outcome.MISMATCH if len(worker.asked) == 1 else Outcome.MATCH
    connection.send(Seen(seen(request, outcome)))


async def test_one_attempt_unless_more_are_asked_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.script(mismatch, *CODES)
        assert len((await on.coordinator.decide(question())).attempts) == 1
        assert len((await on.coordinator.decide(question(orchestration=Orchestration(max_attempts=3)))).attempts) == 3


@pytest.mark.parametrize(
    ("orchestration", "field"),
    [
        (Orchestration(quorum_count=0), "quorum_count"),
        (Orchestration(quorum_count=3), "quorum_count"),
        (Orchestration(quorum_count=7), "quorum_count"),
        (Orchestration(perspective_count=5, quorum_count=3), "quorum_count"),
        (Orchestration(perspective_count=1), "perspective_count"),
        (Orchestration(perspective_count=3), "perspective_count"),
        (Orchestration(perspective_count=7), "perspective_count"),
    ],
)
async def test_less_than_the_table_reaches_no_perspective(
    tmp_path: Path, orchestration: Orchestration, field: str
) -> None:
    async with stage(tmp_path) as on:
        with pytest.raises(BadRequest) as refused:
            await on.coordinator.decide(question(orchestration=orchestration))
        assert refused.value.field == f"orchestration_parameters.{field}"
        assert not any(worker.asked for worker in on.workers.values())
        assert not decisions(on)
        assert events(on, EventType.REFUSED_REQUEST)


async def test_a_stricter_quorum_is_honoured(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.script(mismatch, "ams")
        strict = await on.coordinator.decide(question(orchestration=Orchestration(quorum_count=6)))
        assert not strict.last.verdict.is_valid
        assert strict.last.verdict.required == 6


async def test_a_smaller_set_does_not_depend_on_health(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        fewer = Orchestration(perspective_count=4)
        before = await on.coordinator.decide(question(orchestration=fewer))
        chosen = [attempt.perspective for attempt in before.last.remotes]
        assert len(chosen) == 4
        _publish(on.tunnel_report, _tunnel(chosen[0], TunnelState.DOWN), _tunnel(chosen[1], TunnelState.DOWN))
        after = await on.coordinator.decide(question(orchestration=fewer))
        assert [attempt.perspective for attempt in after.last.remotes] == chosen
        assert after.last.verdict.quorum == "2/4"
        assert not after.last.verdict.is_valid


async def test_a_clock_set_back_does_not_bring_an_older_row_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.evidence.newest = datetime(2026, 12, 20, tzinfo=UTC)
        decision = await on.coordinator.decide(question())
        assert decision.last.verdict.policy_date == "2026-12-20"
        assert decision.last.verdict.row.remotes_required == 5
        assert any("2026-12-20" in warning for warning in decision.warnings)
        with pytest.raises(BadRequest):
            await on.coordinator.decide(question(orchestration=Orchestration(perspective_count=4)))


async def test_a_clock_from_before_the_build_decides_nothing(tmp_path: Path) -> None:
    rules = ClockConfig(require_synchronised=False)
    async with stage(tmp_path, now=lambda: datetime(2026, 10, 31, tzinfo=UTC), clock_rules=rules) as on:
        assert on.coordinator.today().isoformat() == "2026-11-01"
        with pytest.raises(ClockNotTrusted, match="2026-10-31, is before the day on which this software was made"):
            await on.coordinator.decide(question())
        assert not any(worker.asked for worker in on.workers.values())
        assert [event.subject for event in events(on, EventType.REFUSED_REQUEST)] == ["clock"]


async def test_an_unsynchronised_clock_decides_until_its_grace_is_over_and_again_once_it_is_right(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, clock_rules=ClockConfig(grace_s=600)) as on:
        held, seconds = on.coordinator.clock, [1000.0]
        loose = replace(held, state=lambda: ClockState(False, 0, 0, 0), monotonic_s=lambda: seconds[0])
        on.coordinator.time.clock = loose
        # It has no grace before it was held once, or a restart would begin it anew.
        with pytest.raises(ClockNotTrusted, match="has not been since mpicd started"):
            await on.coordinator.decide(question())
        on.coordinator.time.clock = held
        assert (await on.coordinator.decide(question())).last.verdict.is_valid
        on.coordinator.time.clock = loose
        assert (await on.coordinator.decide(question())).last.verdict.is_valid
        seconds[0] += 599
        decision = await on.coordinator.decide(question())
        assert "the kernel's clock is not synchronised" in decision.warnings
        assert decisions(on)[-1].warnings == decision.warnings
        seconds[0] += 1
        asked = len(on.workers["ams"].asked)
        with pytest.raises(ClockNotTrusted, match=r"not synchronised, for clock\.grace_s = 600 s"):
            await on.coordinator.decide(question())
        assert len(on.workers["ams"].asked) == asked
        _, refused = events(on, EventType.REFUSED_REQUEST)
        assert (refused.subject, refused.identifier) == ("clock", "example.com")
        assert "grace_s" in refused.message
        on.coordinator.time.clock = held
        right = await on.coordinator.decide(question())
        assert (right.last.verdict.is_valid, right.warnings) == (True, ())
        # A later loss of the time service has the whole grace again.
        on.coordinator.time.clock = loose
        assert (await on.coordinator.decide(question())).last.verdict.is_valid


async def test_without_the_rule_each_answer_and_record_warns(tmp_path: Path) -> None:
    async with stage(tmp_path, clock_rules=ClockConfig(require_synchronised=False, grace_s=0)) as on:
        on.coordinator.time.clock = replace(on.coordinator.clock, state=lambda: ClockState(False, 0, 0, 0))
        decision = await on.coordinator.decide(question())
        assert decision.warnings[0].startswith("clock.require_synchronised is false")
        assert decisions(on)[0].warnings == decision.warnings


@pytest.mark.parametrize("passed", [True, False])
async def test_the_caller_may_be_the_primary(tmp_path: Path, passed: bool) -> None:
    async with stage(tmp_path) as on:
        decision = await on.coordinator.decide(question(stated=passed))
        assert decision.last.verdict.is_valid is passed
        assert decision.last.primary is None
        assert not on.workers["home"].asked
        assert decisions(on)[0].caller_statement == CallerStatement(passed)


async def test_many_at_once_are_kept_apart(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=TimeLimits(check_s=20, answer_s=20)) as on:
        names = [f"n{number}.example.com" for number in range(64)]
        done = await asyncio.gather(*(on.coordinator.decide(question(name=name)) for name in names))
        assert [decision.question.identifier.value for decision in done] == names
        assert all(decision.last.verdict.quorum == "6/6" for decision in done)
        assert len({decision.receipt.seq for decision in done}) == 64
        assert sorted(request.identifier.value for request in on.workers["syd"].asked) == sorted(names)
        assert NOW.isoformat()[:10] == done[0].last.verdict.policy_date


async def test_what_stands_against_a_perspective_withholds_its_match(tmp_path: Path) -> None:
    proof = InForce("hand-off proof place failed: it is elsewhere", utc_text(NOW), 5, "11" * 32)
    against = {"nyc": Standing(proof.verdict, proof), "ams": Standing(None, InForce("valid", utc_text(NOW)))}
    async with stage(tmp_path, standing=lambda: against) as on:
        decision = await on.coordinator.decide(question())
        assert decision.last.verdict.quorum == "5/6"
        withheld = part(decision, "nyc")
        assert withheld.observation.corroborates, "what it saw is kept as evidence"
        assert (withheld.withheld, withheld.hand_off) == (proof.verdict, proof)
        held = part(decision, "ams")
        assert (held.withheld, held.hand_off) == (None, InForce("valid", utc_text(NOW)))
        assert decisions(on)[0].remotes == decision.last.remotes
        against["gru"] = against["nyc"]
        against["home"] = against["nyc"]
        assert (await on.coordinator.decide(question())).last.verdict.is_valid is False


async def test_a_proof_that_fails_during_the_check_withholds_too(tmp_path: Path) -> None:
    told: list[dict[str, Standing]] = [{"nyc": Standing("later", None)}, {}]
    async with stage(tmp_path, standing=told.pop) as on:
        assert part(await on.coordinator.decide(question()), "nyc").withheld == "later"
