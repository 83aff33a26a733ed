"""The operator's acts: on record, in force at once, kept over a restart, refused where the rest would not comply."""

from __future__ import annotations

from os import getuid
from pathlib import Path

import msgspec
import pytest

from appliance.coordinator.drains import DrainStore
from appliance.errors import ConfigError, EvidenceUnavailable
from appliance.evidence.record import DecisionRecord, EventRecord, EventType
from appliance.model.status import ApplianceStatus
from tests.unit.api.serving import CAA, Serving, serving
from tests.unit.coordinator.workers import CODES, mismatch


def _events(on: Serving, *kinds: EventType) -> list[EventRecord]:
    return [one for one in on.stage.evidence.records if isinstance(one, EventRecord) and one.type in kinds]


async def _act(on: Serving, act: str, code: str) -> int:
    return (await on.operators.post(f"/{act}", json={"perspective": code})).status_code


async def test_a_drained_perspective_is_not_asked_and_in_no_count(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        assert await _act(on, "drain", "ams") == 200
        answer = (await on.callers.post("/mpic", json=CAA)).json()
        assert answer["quorum"] == "5/5"
        assert "ams" not in {part["perspective_code"] for part in answer["perspectives"]}
        assert on.stage.workers["ams"].asked == []
        status = msgspec.json.decode((await on.operators.get("/status")).content, type=ApplianceStatus)
        (shown,) = [one for one in status.perspectives if one.code == "ams"]
        assert shown.drained is not None
        assert shown.drained.uid == getuid()
        assert not shown.ready
        assert "drained by" in shown.reason
        assert status.readiness.ready
        assert await _act(on, "undrain", "ams") == 200
        assert (await on.callers.post("/mpic", json=CAA)).json()["quorum"] == "6/6"
        assert len(on.stage.workers["ams"].asked) == 1


async def test_each_act_and_the_set_after_it_are_on_record_before_a_decision_is_made_with_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        await _act(on, "drain", "ams")
        await on.callers.post("/mpic", json=CAA)
        await _act(on, "undrain", "ams")
        acts = _events(on, EventType.DRAIN, EventType.RESUME)
        assert [(one.type, one.subject, one.actor.uid) for one in acts] == [
            (EventType.DRAIN, "ams", getuid()),
            (EventType.RESUME, "ams", getuid()),
        ]
        (decision,) = [one for one in on.stage.evidence.records if isinstance(one, DecisionRecord)]
        recorded = on.stage.evidence.records[decision.perspective_set.seq - 1]
        assert isinstance(recorded, EventRecord)
        assert recorded.perspective_set is not None
        assert [site.code for site in recorded.perspective_set.remotes] == [code for code in CODES if code != "ams"]


async def test_what_would_leave_too_few_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        assert await _act(on, "drain", CODES[0]) == 200
        assert await _act(on, "drain", CODES[1]) == 200
        refused = await on.operators.post("/drain", json={"perspective": CODES[2]})
        assert refused.status_code == 409
        assert "at least 4" in refused.json()["validation_issues"][0]["msg"]
        assert await _act(on, "drain", "home") == 409
        assert await _act(on, "drain", "nowhere") == 409
        assert await _act(on, "undrain", "nowhere") == 409
        assert (await on.callers.post("/mpic", json=CAA)).json()["quorum"] == "4/4"
        assert len(_events(on, EventType.DRAIN)) == 2


async def test_the_same_act_twice_is_one_act(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        for changed in (True, False):
            answer = (await on.operators.post("/drain", json={"perspective": "ams"})).json()
            assert answer["changed"] is changed
        assert (await on.operators.post("/undrain", json={"perspective": "nyc"})).json()["changed"] is False
        assert len(_events(on, EventType.DRAIN, EventType.RESUME)) == 1


async def test_without_a_record_there_is_no_act(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.evidence.failing = EvidenceUnavailable("disk full")
        assert await _act(on, "drain", "ams") == 503
        on.stage.evidence.failing = None
        assert (await on.callers.post("/mpic", json=CAA)).json()["quorum"] == "6/6"
        assert DrainStore(tmp_path / "drained.json").drained == {}


async def test_the_callers_socket_has_no_acts(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        assert (await on.callers.post("/drain", json={"perspective": "ams"})).status_code == 404
        for body in ({}, {"perspective": 1}, {"perspective": "ams", "more": 1}, {"perspective": "a" * 65}):
            assert (await on.operators.post("/drain", json=body)).status_code == 400


async def test_it_outlives_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        await _act(on, "drain", "ams")
    path = tmp_path / "drained.json"
    assert set(DrainStore(path).drained) == {"ams"}
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("[")
    with pytest.raises(ConfigError, match=r"drained\.json"):
        DrainStore(path)


async def test_health_drains_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.script(mismatch, "ams")
        for _ in range(3):
            answer = (await on.callers.post("/mpic", json=CAA)).json()
            assert answer["quorum"] == "5/6"
            assert "ams" in {part["perspective_code"] for part in answer["perspectives"]}


@pytest.mark.parametrize("body", [b'{"perspective": "\xff"}', b"[" * 60_000, b"{}", b"1"])
@pytest.mark.parametrize("path", ["/drain", "/undrain", "/key-rotation"])
async def test_a_malformed_act_is_a_400(tmp_path: Path, path: str, body: bytes) -> None:
    async with serving(tmp_path) as on:
        assert (await on.operators.post(path, content=body)).status_code == 400
