"""What the operators' socket shows."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.errors import EvidenceUnavailable
from appliance.model.status import ApplianceStatus, PerspectiveSetReport, Readiness
from appliance.model.tunnel import Backend, TunnelReport, TunnelState, TunnelStatus
from tests.unit.api.serving import CAA, Serving, serving
from tests.unit.coordinator.workers import CODES, mismatch


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
