"""`POST /mpic`, as a client on the socket sees it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from appliance.config import TimeLimits
from appliance.errors import EvidenceUnavailable
from appliance.evidence.record import DecisionRecord
from appliance.ipc.messages import Seen
from tests.unit.api.serving import CAA, DNS_01, HTTP_01, Serving, serving
from tests.unit.coordinator.workers import CODES, eventually, mismatch, seen, silent


@pytest.mark.parametrize("path", ["/mpic", "/v1/mpic"])
async def test_the_specifications_example_is_answered_in_its_form(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as on:
        response = await on.callers.post(path, json=CAA)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        answer = response.json()
        assert answer["is_valid"] is True
        assert answer["mpic_completed"] is True
        assert answer["check_type"] == "caa"
        assert answer["domain_or_ip_target"] == "example.com"
        assert answer["trace_identifier"] == CAA["trace_identifier"]
        assert answer["request_orchestration_parameters"] is None
        assert answer["actual_orchestration_parameters"] == {
            "perspective_count": 6,
            "quorum_count": 4,
            "attempt_count": 1,
        }
        assert answer["caa_check_parameters"] is None
        assert answer["previous_attempt_results"] == []
        assert [part["perspective_code"] for part in answer["perspectives"]] == list(CODES)
        check = answer["perspectives"][0]["check_response"]
        assert check["check_type"] == "caa"
        assert check["check_completed"] is True
        assert check["check_passed"] is True
        assert check["errors"] == []
        assert check["timestamp_ns"] == 1795262400000000000
        assert check["details"] == {
            "caa_record_present": False,
            "found_at": None,
            "records_seen": None,
            "reason": None,
            "parameters": [],
            "lookup_failures": [],
        }


async def test_our_additions_say_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.script(mismatch, *CODES[:3])
        answer = (await on.callers.post("/mpic", json=DNS_01)).json()
        assert answer["is_valid"] is False
        assert answer["quorum"] == "3/6"
        assert any("3 of 6" in reason for reason in answer["reasons"])
        assert answer["primary"]["perspective_code"] == "home"
        assert answer["policy"]["row"]["since"] == "2026-06-15"
        assert answer["baseline_requirements"]["section"] == "3.2.2.4.7"
        assert answer["receipt"]["seq"] == len(on.stage.evidence.records)
        assert answer["dcv_check_parameters"] == DNS_01["dcv_check_parameters"]
        error = answer["perspectives"][0]["check_response"]["errors"][0]
        assert error == {"error_type": "validation:acme-dns-01", "error_message": "something else was seen"}


async def test_a_request_without_trace_identifier_gets_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        answer = (await on.callers.post("/mpic", json=HTTP_01)).json()
        record = on.stage.evidence.records[-1]
        assert isinstance(record, DecisionRecord)
        assert answer["trace_identifier"] == record.request.trace_id != ""
        assert json.loads(record.request.body) == HTTP_01
        assert record.request.caller.startswith("unix uid ")


def changed(base: dict[str, Any], **changes: object) -> dict[str, Any]:
    return base | changes


def parameters(base: dict[str, Any], **changes: object) -> dict[str, Any]:
    return base | {"dcv_check_parameters": base["dcv_check_parameters"] | changes}


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({}, "check_type"),
    (changed(CAA, check_type="nope"), "check_type"),
    (changed(CAA, check_type=None), "check_type"),
    (changed(CAA, surprise=1), "surprise"),
    (changed(CAA, domain_or_ip_target=None), "domain_or_ip_target"),
    (changed(CAA, domain_or_ip_target=""), "domain_or_ip_target"),
    (changed(CAA, domain_or_ip_target="a" * 5000), "domain_or_ip_target"),
    (changed(CAA, domain_or_ip_target="example.com:80"), "domain_or_ip_target"),
    (changed(CAA, domain_or_ip_target="192.0.2.1"), "domain_or_ip_target"),
    (changed(CAA, trace_identifier=5), "trace_identifier"),
    (changed(CAA, trace_identifier="x" * 257), "trace_identifier"),
    (changed(CAA, trace_identifier="a\nb"), "trace_identifier"),
    (changed(CAA, orchestration_parameters=[]), "orchestration_parameters"),
    (changed(CAA, orchestration_parameters={"quorum_count": 0}), "orchestration_parameters.quorum_count"),
    (changed(CAA, orchestration_parameters={"quorum_count": True}), "orchestration_parameters.quorum_count"),
    (changed(CAA, orchestration_parameters={"quorum_count": 4.0}), "orchestration_parameters.quorum_count"),
    (changed(CAA, orchestration_parameters={"perspective_count": 1}), "orchestration_parameters.perspective_count"),
    (changed(CAA, orchestration_parameters={"perspective_count": 7}), "orchestration_parameters.perspective_count"),
    (changed(CAA, orchestration_parameters={"max_attempts": 0}), "orchestration_parameters.max_attempts"),
    (changed(CAA, orchestration_parameters={"max_attempts": 99}), "orchestration_parameters.max_attempts"),
    (
        changed(CAA, orchestration_parameters={"cohort_for_single_attempt": 1}),
        "orchestration_parameters.cohort_for_single_attempt",
    ),
    (changed(CAA, orchestration_parameters={"perspectives": ["ams"]}), "orchestration_parameters.perspectives"),
    (changed(CAA, caa_check_parameters={"certificate_type": "tls"}), "caa_check_parameters.certificate_type"),
    (changed(CAA, caa_check_parameters={"caa_domains": ["a b"]}), "caa_check_parameters.caa_domains.0"),
    (changed(CAA, caa_check_parameters={"caa_domains": ["a.example"] * 33}), "caa_check_parameters.caa_domains"),
    (changed(CAA, caa_check_parameters={"account_uri": "a;b"}), "caa_check_parameters.account_uri"),
    (changed(CAA, dcv_check_parameters={}), "dcv_check_parameters"),
    (changed(CAA, primary_determination={"check_passed": True}), "primary_determination"),
    (changed(HTTP_01, dcv_check_parameters=None), "dcv_check_parameters"),
    (changed(HTTP_01, dcv_check_parameters={}), "dcv_check_parameters.validation_method"),
    (parameters(HTTP_01, validation_method="carrier-pigeon"), "dcv_check_parameters.validation_method"),
    (parameters(HTTP_01, token=""), "dcv_check_parameters.token"),
    (parameters(HTTP_01, token="../x"), "dcv_check_parameters.token"),
    (parameters(HTTP_01, token="a\n"), "dcv_check_parameters.token"),
    (parameters(HTTP_01, token=5), "dcv_check_parameters.token"),
    (parameters(HTTP_01, key_authorization="x" * 1025), "dcv_check_parameters.key_authorization"),
    (parameters(HTTP_01, http_headers={"Host": "x"}), "dcv_check_parameters.http_headers"),
    (parameters(HTTP_01, http_headers={"X": "a\r\nY: b"}), "dcv_check_parameters.http_headers"),
    (parameters(HTTP_01, http_headers={f"x{n}": "y" for n in range(17)}), "dcv_check_parameters.http_headers"),
    (changed(HTTP_01, domain_or_ip_target="*.example.com"), "domain_or_ip_target"),
    (changed(DNS_01, domain_or_ip_target="192.0.2.1"), "domain_or_ip_target"),
    (parameters(DNS_01, key_authorization_hash="short"), "dcv_check_parameters.key_authorization_hash"),
    (parameters(DNS_01, dns_name_prefix="_other"), "dcv_check_parameters.dns_name_prefix"),
]


async def _refused(on: Serving, body: bytes, field: str) -> None:
    response = await on.callers.post("/mpic", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    answer = response.json()
    assert answer["error"]
    assert field in [issue["field"] for issue in answer["validation_issues"]]
    assert all(issue["msg"] and issue["type"] for issue in answer["validation_issues"])


async def test_malformed_requests_name_the_field_and_reach_no_perspective(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        for body, field in MALFORMED:
            await _refused(on, json.dumps(body).encode(), field)
        assert not any(worker.asked for worker in on.stage.workers.values())
        assert not any(isinstance(record, DecisionRecord) for record in on.stage.evidence.records)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"  ", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"\xff\xfe", ""),
        (b"\xef\xbb\xbf{}", ""),
        (b'{"check_type": NaN}', ""),
        (b'{"check_type": Infinity}', ""),
        (b'{"check_type": "caa", "domain_or_ip_target": "\\ud800.example"}', ""),
        (b"[" * 60000, ""),
        (b'{"a":' * 10000, ""),
        (b'{"a": ' + b"9" * 60000 + b"}", ""),
        (b'{"check_type": "caa", "check_type": "dcv"}', "check_type"),
        (b'{"check_type": "caa", "caa_check_parameters": {"x": 1, "x": 1}}', "x"),
        (b'{"\\u0000": 1, "check_type": "caa", "domain_or_ip_target": "example.com"}', "\0"),
    ],
)
async def test_what_is_not_i_json_is_malformed(tmp_path: Path, body: bytes, field: str) -> None:
    async with serving(tmp_path) as on:
        await _refused(on, body, field)


async def test_the_callers_own_determination(tmp_path: Path) -> None:
    async with serving(tmp_path, primary=_caller()) as on:
        await _refused(on, json.dumps(CAA).encode(), "primary_determination")
        for passed in (True, False):
            stated = CAA | {"primary_determination": {"check_passed": passed, "detail": "seen from our office"}}
            answer = (await on.callers.post("/mpic", json=stated)).json()
            assert answer["is_valid"] is passed
            assert answer["primary"] is None
            assert answer["primary_determination"] == {"passed": passed, "detail": "seen from our office"}


def _caller() -> dict[str, Any]:
    place = {"city": "Vienna", "country": "AT", "latitude": 48.208, "longitude": 16.373}
    return {"kind": "caller", "code": "home", "place": place}


async def test_without_evidence_there_is_no_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.evidence.failing = EvidenceUnavailable("disk full")
        response = await on.callers.post("/mpic", json=CAA)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert "is_valid" not in response.text
        assert "disk" not in response.text


async def test_a_bug_is_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as on:
        on.stage.evidence.failing = RuntimeError("secret detail")
        response = await on.callers.post("/mpic", json=CAA)
        assert response.status_code == 500
        assert "secret" not in response.text
        assert "secret detail" in caplog.text


async def test_more_than_the_limit_at_once_are_refused_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=TimeLimits(check_s=30, answer_s=30)) as on:
        on.stage.script(silent, *CODES)
        limit = on.settings.api.concurrent_requests
        accepted = [asyncio.create_task(on.callers.post("/mpic", json=CAA)) for _ in range(limit)]
        await eventually(lambda: on.api.metrics.in_flight == limit, "all are being decided")
        refused = await on.callers.post("/mpic", json=CAA)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        for code in CODES:
            worker = on.stage.workers[code]
            await eventually(lambda worker=worker: len(worker.asked) == limit, f"{code} is asked")  # type: ignore[misc]
            assert worker.server is not None
            for request in worker.asked:
                worker.server.broadcast(Seen(seen(request)))
        assert {(await task).status_code for task in accepted} == {200}
        assert (await on.operators.get("/healthz")).status_code == 200


async def test_a_caller_that_goes_away_does_not_undo_what_was_started(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=TimeLimits(check_s=20, answer_s=20)) as on:
        on.stage.script(silent, "ams")
        worker = on.stage.workers["ams"]
        _, writer = await asyncio.open_unix_connection(str(on.settings.api.socket))
        body = json.dumps(CAA).encode()
        writer.write(b"POST /mpic HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await eventually(lambda: bool(worker.asked), "the check is under way")
        writer.close()
        await writer.wait_closed()
        assert worker.server is not None
        worker.server.broadcast(Seen(seen(worker.asked[0])))
        records = on.stage.evidence.records
        await eventually(lambda: isinstance(records[-1], DecisionRecord), "the decision is recorded")
        assert not worker.cancelled
