"""One perspective as a service, and an appliance that uses another one's over mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from os import getuid
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from appliance.api import perspective
from appliance.config import RemotePerspectiveConfig, load
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.proofs import Standing
from appliance.coordinator.question import Orchestration, Question
from appliance.coordinator.remote import RemoteChannel
from appliance.coordinator.tunnels import TunnelWatch
from appliance.errors import ChannelClosed, ConfigError
from appliance.evidence.record import Arrival, EventType
from appliance.ipc import WorkerChannel
from appliance.ipc.channel import WrongReply
from appliance.linux.clock import ClockState
from appliance.model.egress import EgressStatus, EgressTunnel
from appliance.model.observation import Observation, Outcome
from tests.lab.appliance_files import toml
from tests.unit.api.authority import Authority, Pair
from tests.unit.api.listeners import add_client, events, free_port, mutual_tls, revoke_client
from tests.unit.api.serving import ASKED, NAME, Serving, built, serving
from tests.unit.coordinator.configuration import document
from tests.unit.coordinator.workers import CODES, FLEET, die, eventually, mismatch, silent, stage


async def test_the_check_is_the_coordinators_and_leaves_a_record(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        response = await on.callers.post("/perspectives/ams/check", json=built())
        assert response.status_code == 200
        seen = msgspec.json.decode(response.content, type=Observation)
        assert (seen.request_id, seen.perspective, seen.outcome) == ("r-1", "ams", Outcome.MATCH)
        [request] = on.stage.workers["ams"].asked
        assert (request.identifier, request.check, request.deadline_ms) == (NAME, ASKED.check, 1500)
        assert all(not on.stage.workers[code].asked for code in CODES if code != "ams")
        [event] = events(on, EventType.PERSPECTIVE_CHECK)
        assert event.observation == seen
        assert dict(event.facts)["caller"] == f"unix uid {getuid()}"
        on.stage.script(mismatch, "ams")
        again = await on.callers.post("/perspectives/ams/check", json=built())
        assert again.json()["corroborates"] is False


async def test_what_the_egress_node_says_is_its_own_operators_alone(tmp_path: Path) -> None:
    said = EgressStatus("0.1.0", "6.1", 1, (), ("clock: not synchronised",), EgressTunnel("wg-mpic", "kernel"))
    async with serving(tmp_path) as on:
        worker = on.stage.workers["ams"]
        worker.egress = said
        worker.say()

        def told() -> EgressStatus | None:
            status = on.stage.coordinator.perspectives.worker("ams")
            return None if status is None else status.egress

        await eventually(lambda: told() == said, "the coordinator knows what the egress node said")
        status = (await on.operators.get("/status")).json()
        [ams] = [one for one in status["perspectives"] if one["code"] == "ams"]
        assert ams["worker"]["egress"]["warnings"] == ["clock: not synchronised"]
        assert (await on.callers.get("/perspectives/ams")).json()["egress"] is None


async def test_the_same_request_id_twice_at_once_is_two_checks(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        both = await asyncio.gather(*(on.callers.post("/perspectives/ams/check", json=built()) for _ in range(2)))
        assert [one.json()["request_id"] for one in both] == ["r-1", "r-1"]
        assert len({one.request_id for one in on.stage.workers["ams"].asked}) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"perspective": "nyc"},
        {"request_id": ""},
        {"request_id": "a\n"},
        {"deadline_ms": 0},
        {"deadline_ms": "soon"},
        {"identifier": msgspec.to_builtins(msgspec.structs.replace(NAME, value="other.example"))},
        {"identifier": msgspec.to_builtins(msgspec.structs.replace(NAME, requested="http://example.com"))},
        {"check": {"method": "acme-http-01", "token": "../x", "key_authorization": "a.b"}},
        {"check": {"method": "website-change", "http_token_path": "x", "challenge_value": "short12"}},
        {"check": {"method": "website-change", "http_token_path": "x", "challenge_value": "pki%2dvalidation"}},
        {"check": {"method": "website-change", "http_token_path": "x", "challenge_value": "example.com"}},
        {"check": {"method": "carrier-pigeon"}},
        {"check": None},
    ],
)
async def test_a_malformed_check_is_a_400_and_reaches_nobody(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with serving(tmp_path) as on:
        response = await on.callers.post("/perspectives/ams/check", json=built(**changes))
        assert response.status_code == 400, response.text
        assert response.json()["validation_issues"]
        assert on.stage.workers["ams"].asked == []


async def test_a_perspective_that_cannot_see_gives_no_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.workers["ams"].ready = False
        on.stage.workers["ams"].say()
        await eventually(lambda: on.stage.coordinator.perspectives.down("ams") is not None, "ams is down")
        response = await on.callers.post("/perspectives/ams/check", json=built())
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert (await on.callers.get("/perspectives/ams")).json()["ready"] is False
        on.stage.script(die, "nyc")
        lost = await on.callers.post("/perspectives/nyc/check", json=built(perspective="nyc"))
        assert lost.status_code == 503
        on.stage.script(silent, "tyo")
        on.stage.workers["tyo"].answers_cancel = False
        late = await on.callers.post("/perspectives/tyo/check", json=built(perspective="tyo", deadline_ms=50))
        assert late.status_code == 504
        assert (await on.callers.post("/perspectives/moon/check", json=built())).status_code == 404


async def test_what_does_not_count_here_counts_for_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        coordinator = on.stage.coordinator
        coordinator.standing = lambda: {"ams": Standing("hand-off proof place failed")}
        refused = await on.callers.post("/perspectives/ams/check", json=built())
        assert refused.status_code == 503
        assert "place failed" in refused.json()["error"]
        status = (await on.callers.get("/perspectives/ams")).json()
        assert (status["ready"], status["reasons"]) == (False, ["hand-off proof place failed"])
        assert on.stage.workers["ams"].asked == []

        # What fails meanwhile is not a corroboration any more, and is on record as none.
        standings = iter([{}, {"nyc": Standing("hand-off proof exit failed")}])
        coordinator.standing = lambda: next(standings)
        seen = (await on.callers.post("/perspectives/nyc/check", json=built(perspective="nyc"))).json()
        assert (seen["outcome"], seen["corroborates"]) == ("error", False)
        assert seen["errors"][-1]["code"] == "perspective.withheld"
        (event,) = events(on, EventType.PERSPECTIVE_CHECK)
        assert event.observation is not None
        assert event.observation.corroborates is False

        coordinator.standing = dict
        assert (await on.operators.post("/drain", json={"perspective": "tyo"})).status_code == 200
        drained = await on.callers.post("/perspectives/tyo/check", json=built(perspective="tyo"))
        assert drained.status_code == 503
        assert "drained" in drained.json()["error"]


@dataclass
class Shared:
    """An appliance that shares its perspectives, and what its partner knows."""

    on: Serving
    port: int
    authority: Authority
    partner: Pair

    def configured(self, code: str, pair: Pair | None = None, **changes: object) -> RemotePerspectiveConfig:
        shown = pair or self.partner
        document = {
            "code": code,
            "place": {"city": "Tokyo", "country": "JP", "latitude": 35.69, "longitude": 139.69},
            "provider": "partner",
            "upstreams": [64500],
            "origin_asn": 64501,
            "egress_addresses": ["198.51.100.7"],
            "url": f"https://127.0.0.1:{self.port}/perspectives/tyo",
            "certificate_file": shown.certificate,
            "private_key_file": shown.key,
            "ca_file": self.authority.certificate,
        }
        return RemotePerspectiveConfig.model_validate(document | changes)


@contextlib.asynccontextmanager
async def shared(directory: Path) -> AsyncIterator[Shared]:
    directory.mkdir()  # noqa: ASYNC240 -- a test's own directory
    authority = Authority(directory)
    partner, port = authority.issue("partner"), free_port()
    async with serving(directory, api=mutual_tls(directory, authority, port)) as on:
        await add_client(on, "partner", partner, perspectives=["tyo"])
        yield Shared(on, port, authority, partner)


async def test_nothing_that_a_partner_sets_is_kept(tmp_path: Path) -> None:
    async with shared(tmp_path / "theirs") as theirs:
        remote = RemoteChannel(theirs.configured("tyo"), poll_s=0.02)
        remote.start()
        try:
            client = remote._client
            assert client is not None
            request = httpx.Request("GET", "https://127.0.0.1/perspectives/tyo")
            cookies = [("set-cookie", f"name{number}={'x' * 1000}; Path=/") for number in range(90)]
            client.cookies.extract_cookies(httpx.Response(200, headers=cookies, request=request))
            assert len(client.cookies.jar) == 0
            control = httpx.Cookies()
            control.extract_cookies(httpx.Response(200, headers=cookies, request=request))
            assert len(control.jar) == 90
        finally:
            await remote.close()


async def test_two_appliances_share_a_perspective(tmp_path: Path) -> None:
    async with shared(tmp_path / "theirs") as theirs, stage(tmp_path) as ours:
        remote = RemoteChannel(theirs.configured("tyo"), poll_s=0.02)
        channels = {
            code: WorkerChannel(worker.path, code, getuid()) for code, worker in ours.workers.items() if code != "tyo"
        }
        perspectives = Perspectives({**channels, "tyo": remote}, TunnelWatch(tmp_path / "tunnels.json"))
        perspectives.start()
        coordinator = ours.coordinator
        coordinator.perspectives = coordinator._fanout._perspectives = perspectives
        try:
            await eventually(
                lambda: all(perspectives.down(site.code) is None for site in FLEET.remotes), "all can be asked"
            )
            decision = await coordinator.decide(question())
            assert decision.last.verdict.quorum == "6/6"
            assert ours.workers["tyo"].asked == []
            assert len(theirs.on.stage.workers["tyo"].asked) == 1
            [event] = events(theirs.on, EventType.PERSPECTIVE_CHECK)
            assert dict(event.facts)["caller"] == "certificate partner"
            theirs.on.stage.script(mismatch, "tyo")
            assert (await coordinator.decide(question())).last.verdict.quorum == "5/6"
            await revoke_client(theirs.on, "partner")
            await eventually(lambda: perspectives.down("tyo") is not None, "the revoked partner is out")
            last = (await coordinator.decide(question())).last
            assert last.verdict.quorum == "5/6"
            assert {one.perspective: one.arrival for one in last.remotes}["tyo"] is Arrival.UNREACHABLE
            assert len(theirs.on.stage.workers["tyo"].asked) == 2
            assert events(theirs.on, EventType.REFUSED_CALLER)
        finally:
            await perspectives.close()


def question() -> Question:
    return Question(NAME, ASKED.check, Orchestration(), "trace", None, "test", "{}")


async def test_a_stranger_is_not_served(tmp_path: Path) -> None:
    async with shared(tmp_path / "theirs") as theirs:
        expired = theirs.authority.issue("expired", lifetime=timedelta(days=-1))
        unknown = Authority(tmp_path).issue("stranger")
        for pair in (expired, unknown):
            await _fails(theirs.configured("tyo", pair), ChannelClosed)
        await _fails(theirs.configured("tyo", ca_file=tmp_path / "authority.pem"), ChannelClosed)
        other = theirs.configured("nyc", url=f"https://127.0.0.1:{theirs.port}/perspectives/nyc")
        await _fails(other, ChannelClosed)
        assert all(not worker.asked for worker in theirs.on.stage.workers.values())
        assert len(events(theirs.on, EventType.REFUSED_CALLER)) == 2
        with pytest.raises(ConfigError, match=r"remote_perspectives tyo\.ca_file: .*absent"):
            RemoteChannel(theirs.configured("tyo", ca_file=tmp_path / "absent"), 1)


async def _fails(configured: RemotePerspectiveConfig, error: type[Exception]) -> None:
    channel = RemoteChannel(configured, 60)
    channel.start()
    try:
        with pytest.raises(error):
            await channel.ask(msgspec.structs.replace(ASKED, perspective=configured.code))
        assert not channel.connected
    finally:
        await channel.close()


Reply = tuple[int, bytes]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"request_id": "r-2"}, WrongReply),
        ({"perspective": "ams"}, WrongReply),
        ({"method": "caa"}, WrongReply),
        ({"corroborates": True, "outcome": "error"}, WrongReply),
        ({"outcome": "perhaps"}, WrongReply),
        ({"started_at": "now"}, WrongReply),
        ({"elapsed_us": 1 << 53}, WrongReply),
        ({"started_at": "2026-11-21T12:00:00"}, WrongReply),
        ({"started_at": "2026-11-21T23:59:60Z"}, WrongReply),
    ],
)
async def test_a_reply_that_is_none_to_the_question(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shared(tmp_path / "theirs") as theirs:
        honest = {
            "request_id": "r-1", "perspective": "tyo", "method": "acme-http-01", "outcome": "match",
            "corroborates": True, "started_at": "2026-11-21t13:00:00+01:00", "elapsed_us": 1,
            "egress_addresses": ["198.51.100.7"],
        }  # fmt: skip
        channel = RemoteChannel(theirs.configured("tokyo"), 60)
        channel.start()
        answers = [honest, honest | changes]

        async def fetch(_client: object, method: str, *_: object) -> bytes:
            return msgspec.json.encode(answers.pop(0)) if method == "POST" else b"{}"

        monkeypatch.setattr(channel, "_fetch", fetch)
        try:
            request = msgspec.structs.replace(ASKED, perspective="tokyo")
            seen = await channel.ask(request)
            assert (seen.perspective, seen.started_at) == ("tokyo", "2026-11-21T12:00:00.000000Z")
            with pytest.raises(error):
                await channel.ask(request)
        finally:
            await channel.close()


@pytest.mark.parametrize(
    ("reported", "word"),
    [
        (["198.51.100.8"], "198.51.100.8, which is not in its egress_addresses"),
        (["198.51.100.7", "198.51.100.8"], "198.51.100.8, which is not in its egress_addresses"),
        ([], "reports no egress address"),
        (["::ffff:198.51.100.7"], None),
    ],
)
async def test_a_match_from_another_address_does_not_count(
    tmp_path: Path, reported: list[str], word: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shared(tmp_path / "theirs") as theirs:
        said = {
            "request_id": "r-1", "perspective": "tyo", "method": "acme-http-01", "outcome": "match",
            "corroborates": True, "started_at": "2026-11-21T12:00:00Z", "elapsed_us": 1, "seen": ["abc.def"],
        }  # fmt: skip
        channel = RemoteChannel(theirs.configured("tokyo"), 60)
        channel.start()

        async def fetch(_client: object, method: str, *_: object) -> bytes:
            return msgspec.json.encode(said | {"egress_addresses": reported}) if method == "POST" else b"{}"

        monkeypatch.setattr(channel, "_fetch", fetch)
        try:
            seen = await channel.ask(msgspec.structs.replace(ASKED, perspective="tokyo"))
        finally:
            await channel.close()
        assert (seen.seen, seen.corroborates) == (("abc.def",), word is None)
        assert [error.code for error in seen.errors] == ([] if word is None else ["perspective.egress-address"])
        assert word is None or word in seen.errors[0].message


async def test_by_a_clock_that_cannot_be_trusted_nothing_is_checked_for_partners(tmp_path: Path) -> None:
    async with serving(tmp_path, clock={"grace_s": 0}) as on:
        time = on.stage.coordinator.time
        held = time.clock
        time.clock = replace(held, state=lambda: ClockState(False, 0, 0, 0))
        refused = await on.callers.post("/perspectives/ams/check", json=built())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "not synchronised, and has not been since mpicd started" in refused.json()["error"]
        status = (await on.callers.get("/perspectives/ams")).json()
        assert (status["ready"], "not synchronised" in status["reasons"][0]) == (False, True)
        decided = await on.callers.post("/mpic", json={"check_type": "caa", "domain_or_ip_target": "example.com"})
        assert decided.status_code == 503
        assert "not synchronised, and has not been since mpicd started" in decided.json()["error"]
        assert on.stage.workers["ams"].asked == []
        recorded = events(on, EventType.REFUSED_REQUEST)
        assert [(one.subject, one.identifier) for one in recorded] == [("clock", "example.com")] * 2
        assert recorded[0].trace_id == "r-1"
        time.clock = held
        assert (await on.callers.post("/perspectives/ams/check", json=built())).json()["warnings"] == []
        assert (await on.callers.post("/clock/accept-date", json={})).status_code == 404


async def test_partners_checks_are_held_to_the_policy_date_and_warn_of_the_clock(tmp_path: Path) -> None:
    async with serving(tmp_path, clock={"require_synchronised": False}) as on:
        seen = (await on.callers.post("/perspectives/ams/check", json=built())).json()
        assert seen["warnings"][0].startswith("clock.require_synchronised is false")
        [event] = events(on, EventType.PERSPECTIVE_CHECK)
        assert event.observation is not None
        assert event.observation.warnings == tuple(seen["warnings"])
        readiness = (await on.callers.get("/readyz")).json()
        assert seen["warnings"][0] in readiness["warnings"]
        dates: list[date] = []

        def problems(_check: object, _identifier: object, day: date) -> list[tuple[str, str]]:
            dates.append(day)
            return [("method", f"not on {day}")]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(perspective, "check_problems", problems)
            on.stage.evidence.newest = datetime(2029, 3, 15, tzinfo=UTC)
            refused = await on.callers.post("/perspectives/ams/check", json=built())
        assert (refused.status_code, dates) == (400, [date(2029, 3, 15)])


async def test_a_status_that_is_none_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "perspective": "tyo", "ready": True, "reasons": [], "egress_addresses": [], "anchored_at": "0001-01-01T00:00:00+14:00",
        "path_rtt_us": None, "netns_inode": 1,
    }  # fmt: skip
    async with shared(tmp_path / "theirs") as theirs:
        channel = RemoteChannel(theirs.configured("tokyo"), 0)
        wild = msgspec.json.encode(said).replace(b"null", b"1" + b"0" * 400)
        answers = [b'{"perspective": "\xff"}', b"[" * 100_000, wild, msgspec.json.encode(said)]

        async def fetch(*_: object) -> bytes:
            return answers.pop(0) if len(answers) > 1 else answers[0]

        monkeypatch.setattr(channel, "_fetch", fetch)
        channel.start()
        try:
            for _ in range(3000):
                if channel.status is not None:
                    break
                await asyncio.sleep(0.01)
            assert channel.status is not None
            assert (channel.status.perspective, channel.status.anchored_at) == ("tokyo", None)
        finally:
            await channel.close()


@pytest.mark.parametrize(
    ("changes", "remote", "rule"),
    [
        ({}, {"code": "ams"}, "remote_perspectives.0.code: ams is used twice"),
        (
            {},
            {"egress_addresses": ["198.51.100.1"]},
            "remote_perspectives.0.egress_addresses: 198.51.100.1 is used twice",
        ),
        ({}, {"url": "http://x/perspectives/ams"}, "remote_perspectives.0.url: String should match"),
        ({"rov": {"policy": "require", "vrp_file": "/x"}}, {}, "remote_perspectives: not with rov.policy"),
    ],
)
def test_what_a_remote_perspective_may_not_be(
    tmp_path: Path, changes: dict[str, Any], remote: dict[str, Any], rule: str
) -> None:
    pair = Pair(tmp_path / "c.pem", tmp_path / "c.key")
    shared = Shared.__new__(Shared)
    shared.port, shared.partner, shared.authority = 1, pair, Authority(tmp_path)
    table = json.loads(shared.configured("partner").model_dump_json(exclude_none=True)) | remote
    path = tmp_path / "appliance.toml"
    path.write_text(toml(document(tmp_path) | {"remote_perspectives": [table]} | changes))
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert any(line.startswith(f"{path}: {rule}") for line in refused.value.problems)
