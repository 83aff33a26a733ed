"""What the operators' socket shows."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from appliance.api.metrics import proof_metrics
from appliance.coordinator.alerts import Alerts
from appliance.errors import EvidenceUnavailable
from appliance.linux.clock import ClockState
from appliance.model.proof import PerspectiveProofs, Proof, ProofKind, Result
from appliance.model.status import ApplianceStatus, PerspectiveSetReport, Readiness
from appliance.model.tunnel import Backend, TunnelReport, TunnelState, TunnelStatus
from tests.unit.api.serving import CAA, Serving, serving
from tests.unit.coordinator.configuration import document
from tests.unit.coordinator.workers import CODES, eventually, mismatch


def _down(on: Serving, *codes: str) -> None:
    tunnels = tuple(
        TunnelStatus(code, "ns", 7, "wg0", Backend.KERNEL, TunnelState.DOWN, "no handshake", None, 0, 0, 0)
        for code in codes
    )
    partial = on.stage.tunnel_report.with_suffix(".new")
    partial.write_bytes(msgspec.json.encode(TunnelReport(0, tunnels)))
    partial.rename(on.stage.tunnel_report)


async def test_status_shows_each_perspective(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.script(mismatch, "nyc")
        await on.operators.post("/mpic", json=CAA)
        _down(on, "ams")
        response = await on.operators.get("/status")
        status = msgspec.json.decode(response.content, type=ApplianceStatus)
        by_code = {one.code: one for one in (status.primary, *status.perspectives)}
        assert list(by_code) == ["home", *CODES]
        assert status.primary.primary
        assert status.perspectives_ready == 5
        assert status.decisions == 1
        assert not by_code["ams"].ready
        assert "no handshake" in by_code["ams"].reason
        assert by_code["ams"].nearest.code == "home"
        assert by_code["ams"].nearest.distance_m > 500_000
        assert by_code["nyc"].last_check is not None
        assert by_code["nyc"].last_check.outcome == "mismatch"
        assert by_code["nyc"].worker is not None
        assert by_code["nyc"].worker.egress_addresses == ("198.51.100.7",)
        assert by_code["nyc"].expected_egress_addresses == ("198.51.100.2",)
        assert status.policy.today.since == "2026-06-15"
        assert status.policy.next is not None
        assert status.policy.next.since == "2026-12-15"
        assert status.policy.next_shortfalls == ()


async def test_the_set_is_shown_against_the_rules(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        response = await on.operators.get("/perspectives")
        report = msgspec.json.decode(response.content, type=PerspectiveSetReport)
        assert len(report.distances) == 7 * 6 // 2
        assert all(pair.distinct for pair in report.distances)
        assert sum(len(region.codes) for region in report.rirs) == 6
        upstream = next(one for one in report.shared if (one.kind, one.value) == ("upstream", "AS64500"))
        assert upstream.codes == ("ams", "tyo", "jnb")
        assert upstream.breaks
        assert upstream.warning


async def test_a_place_that_needs_a_look_is_a_warning(tmp_path: Path) -> None:
    primary = document(tmp_path)["primary"]
    primary["place"] |= {"country": "CH", "country_override": "the border is wrong here"}
    async with serving(tmp_path, primary=primary) as on:
        response = await on.callers.get("/readyz")
        assert response.status_code == 200
        (warning,) = msgspec.json.decode(response.content, type=Readiness).warnings[:1]
        assert warning.startswith("primary.place.country: latitude 48.208, longitude 16.373 lies in AT (Austria), ")
        assert warning.endswith("; country_override: the border is wrong here")


async def test_ready_only_while_a_compliant_quorum_is_possible(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        assert (await on.callers.get("/readyz")).status_code == 200
        _down(on, *CODES[:2])
        assert (await on.callers.get("/readyz")).status_code == 200
        _down(on, *CODES[:3])
        response = await on.callers.get("/readyz")
        assert response.status_code == 503
        readiness = msgspec.json.decode(response.content, type=Readiness)
        assert any("3 of 6" in reason for reason in readiness.reasons)
        assert any(reason.startswith("ams: ") for reason in readiness.reasons)
        assert (await on.callers.get("/healthz")).status_code == 200
        _down(on, "home")
        assert (await on.callers.get("/readyz")).status_code == 503
        _down(on)
        on.stage.evidence.failure = str(EvidenceUnavailable("disk full"))
        assert (await on.callers.get("/readyz")).status_code == 503


async def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        await on.callers.post("/mpic", json=CAA)
        await on.callers.post("/mpic", json={})
        response = await on.operators.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = response.text.splitlines()
        assert 'mpic_decisions_total{method="caa",is_valid="true"} 1' in lines
        assert 'mpic_requests_refused_total{reason="http-400"} 1' in lines
        assert 'mpic_perspective_ready{perspective="ams"} 1' in lines
        assert 'mpic_observations_total{perspective="home",outcome="match"} 1' in lines
        assert "mpic_decision_duration_seconds_count 1" in lines
        assert (await on.callers.get("/metrics")).status_code == 404


def test_every_proof_is_a_metric() -> None:
    proofs = (
        Proof(ProofKind.PLACE, Result.FAILED, "not there"),
        Proof(ProofKind.PATH, Result.VALID, "it answers"),
    )
    page = proof_metrics([PerspectiveProofs("sin", "not there", "", proofs), PerspectiveProofs("ams", None, "", ())])
    lines = page.decode().splitlines()
    assert [line for line in lines if line.endswith(" 1") and not line.startswith("#")] == [
        'mpic_proof{perspective="sin",proof="place",result="failed"} 1',
        'mpic_proof{perspective="sin",proof="path",result="valid"} 1',
        'mpic_perspective_withheld{perspective="sin"} 1',
    ]
    assert 'mpic_proof{perspective="sin",proof="path",result="failed"} 0' in lines
    assert 'mpic_perspective_withheld{perspective="ams"} 0' in lines


async def test_pruning_is_for_operators_and_names_what_is_wrong(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        assert (await on.callers.post("/evidence/prune", json={"before": "2000-01-01T00:00:00Z"})).status_code == 404
        done = await on.operators.post("/evidence/prune", json={"before": "2000-01-01T00:00:00Z"})
        assert (done.status_code, done.json()["file"]) == (200, None)
        for body in ({}, {"before": 5}, {"before": "yesterday"}, {"before": "2026-01-01"}):
            refused = await on.operators.post("/evidence/prune", json=body)
            assert refused.status_code == 400
            assert refused.json()["validation_issues"][0]["loc"] == ["before"]
        young = await on.operators.post("/evidence/prune", json={"before": "2026-01-01T00:00:00Z"})
        assert young.status_code == 400
        assert "must be kept" in young.text


@pytest.mark.parametrize(
    ("clock", "ready"),
    [({"grace_s": 0}, False), ({"grace_s": 600}, True), ({"grace_s": 0, "require_synchronised": False}, True)],
)
async def test_a_clock_that_nothing_holds_ends_readiness_after_its_grace(
    tmp_path: Path, clock: dict[str, object], ready: bool
) -> None:
    async with serving(tmp_path, clock=clock) as on:
        held = on.stage.coordinator.clock
        assert (await on.callers.get("/readyz")).status_code == 200
        on.stage.coordinator.time.clock = replace(held, state=lambda: ClockState(False, 0, 0, 0))
        response = await on.callers.get("/readyz")
        assert response.status_code == (200 if ready else 503)
        assert "the kernel's clock is not synchronised" in response.text
        on.stage.coordinator.time.clock = held
        assert (await on.callers.get("/readyz")).status_code == 200


async def test_a_resolver_that_does_not_trust_the_root_ends_readiness(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        worker = on.stage.workers["ams"]
        worker.root_anchor_problem = "resolver: the root's keys do not match its trust anchor"
        worker.say()
        perspectives = on.stage.coordinator.perspectives
        await eventually(lambda: perspectives.worker("ams") == worker.status, "the status is heard")
        response = await on.callers.get("/readyz")
        assert response.status_code == 503
        assert "ams: resolver: the root's keys do not match its trust anchor" in response.json()["reasons"]


async def test_dates_to_come_and_the_last_margin_are_warned_of(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        before = (await on.callers.get("/readyz")).json()["warnings"]
        assert not any("2026-12-15" in line or "margin" in line for line in before)
        for code in CODES[:2]:
            assert (await on.operators.post("/drain", json={"perspective": code})).status_code == 200
        readiness = (await on.callers.get("/readyz")).json()
        assert readiness["ready"] is True
        assert any("from 2026-12-15, in 24 days" in line for line in readiness["warnings"])
        _down(on, CODES[2])
        readiness = (await on.callers.get("/readyz")).json()
        assert readiness["ready"] is True
        assert any(
            "no margin is left: the loss of one of gru, jnb, syd would" in line for line in readiness["warnings"]
        )


def test_each_alert_is_one_line_when_it_comes_and_one_when_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mpicd")
    alerts = Alerts()
    for readiness in (
        Readiness(True, ()),
        Readiness(True, (), ("no margin is left",)),
        Readiness(True, (), ("no margin is left",)),
        Readiness(False, ("3 of 6 corroborate",), ("no margin is left",)),
        Readiness(True, ()),
    ):
        alerts.note(readiness)
    assert [(record.levelno, record.getMessage()) for record in caplog.records][:2] == [
        (logging.WARNING, "attention: no margin is left"),
        (logging.ERROR, "not ready: 3 of 6 corroborate"),
    ]
    assert {record.getMessage() for record in caplog.records[2:]} == {
        "over: no margin is left",
        "over: 3 of 6 corroborate",
    }
