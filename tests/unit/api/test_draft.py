"""`POST /mpic/draft-00`, as a client on the socket sees it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.evidence.record import DecisionRecord
from appliance.ipc import Connection
from appliance.ipc.messages import Seen
from appliance.model.check import (
    AcmeHttp01Check,
    CaaCheck,
    CheckRequest,
    DnsChangeCheck,
    DnsChangeType,
    Method,
    method_of,
)
from appliance.model.observation import CaaFinding, DnssecStatus, Lookup
from tests.unit.api.serving import serving
from tests.unit.coordinator.configuration import document
from tests.unit.coordinator.workers import CODES, FakeWorker, match, mismatch, seen

CAA = {"method": "caa", "domain": "some.example.com"}
HTTP = {"method": "http-acme", "domain_or_ip": "some.example.com", "token": "abc", "key_authorization": "abc.def"}
DNS = {"method": "dns", "domain": "example.com", "record-type": "TXT", "prefix": "_dcv", "expected": "secret123"}


def with_caa(worker: FakeWorker, connection: Connection, request: CheckRequest) -> None:
    """Finds the draft's own example."""
    if method_of(request.check) is not Method.CAA:
        match(worker, connection, request)
        return
    finding = CaaFinding(True, "example.com", ('0 issue "letsencrypt.org"',), "permits")
    connection.send(Seen(msgspec.structs.replace(seen(request), caa=finding)))


async def test_the_drafts_example_of_caa(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.script(with_caa, "home", *CODES)
        answer = (await on.callers.post("/mpic/draft-00", json=CAA)).json()
        assert answer["success"] is True
        assert answer["perspectives"] == {code: {"success": True} for code in CODES}
        assert answer["caa"]["domain"] == "example.com"
        [record] = answer["caa"]["records"]
        # RFC 8659 section 4.1: flags, length of the tag, tag, value.
        assert base64.b64decode(record) == b"\x00\x05issueletsencrypt.org"
        assert answer["receipts"][0]["seq"] == len(on.stage.evidence.records)
        assert "error" not in answer


@pytest.mark.parametrize(
    "finding",
    [
        CaaFinding(True, "example.com", ('0 issue "ca.example; accounturi=' + "a" * 480 + "…",), "permits"),
        CaaFinding(True, "example.com", ('0 issue "letsencrypt.org"',) * 64, "permits"),
    ],
)
async def test_records_that_were_cut_are_not_given_for_the_whole(tmp_path: Path, finding: CaaFinding) -> None:
    def cut(worker: FakeWorker, connection: Connection, request: CheckRequest) -> None:
        lookup = Lookup("example.com", "CAA", "NOERROR", False, DnssecStatus.INSECURE, clipped=len(finding.rrset) > 1)
        if method_of(request.check) is Method.CAA:
            connection.send(Seen(msgspec.structs.replace(seen(request), caa=finding, lookups=(lookup,))))
        else:
            match(worker, connection, request)

    async with serving(tmp_path) as on:
        on.stage.script(cut, "home", *CODES)
        answer = (await on.callers.post("/mpic/draft-00", json=CAA)).json()
        assert answer["success"] is True
        assert "caa" not in answer


@pytest.mark.parametrize(
    ("body", "checks"),
    [
        (HTTP, [AcmeHttp01Check("abc", "abc.def"), CaaCheck]),
        (HTTP | {"caa_check": False}, [AcmeHttp01Check("abc", "abc.def")]),
        (HTTP | {"domain_or_ip": "192.0.2.1"}, [AcmeHttp01Check("abc", "abc.def")]),
        (DNS, [DnsChangeCheck("secret123", DnsChangeType.TXT, "_dcv"), CaaCheck]),
        (DNS | {"caa": False}, [DnsChangeCheck("secret123", DnsChangeType.TXT, "_dcv")]),
    ],
)
async def test_both_checks_must_hold(tmp_path: Path, body: dict[str, Any], checks: list[Any]) -> None:
    async with serving(tmp_path) as on:
        assert (await on.callers.post("/mpic/draft-00", json=body)).json()["success"] is True
        asked = [request.check for request in on.stage.workers["ams"].asked]
        assert asked[0] == checks[0]
        assert [type(check) for check in asked[1:]] == checks[1:]
        assert sum(isinstance(one, DecisionRecord) for one in on.stage.evidence.records) == len(checks)


async def test_a_failure_says_how_many_and_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.script(mismatch, *CODES[:3])
        answer = (await on.callers.post("/mpic/draft-00", json=HTTP)).json()
        assert answer["success"] is False
        assert answer["perspectives"]["ams"] == {"success": False}
        assert answer["perspectives"]["syd"] == {"success": True}
        assert "3/6 perspectives corroborate" in answer["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "method"),
        ({"method": "telnet"}, "method"),
        ({"method": "caa"}, "domain"),
        (CAA | {"domain": "http://x"}, "domain"),
        (CAA | {"more": 1}, "more"),
        (HTTP | {"token": "../x"}, "token"),
        (HTTP | {"caa_check": "no"}, "caa_check"),
        (HTTP | {"domain_or_ip": "192.0.2.1", "caa_check": True}, "domain_or_ip"),
        (DNS | {"record-type": "MX"}, "record-type"),
        (DNS | {"prefix": "a.b"}, "prefix"),
        (DNS | {"expected": ""}, "expected"),
    ],
)
async def test_malformed(tmp_path: Path, body: dict[str, Any], field: str) -> None:
    async with serving(tmp_path) as on:
        response = await on.callers.post("/mpic/draft-00", json=body)
        assert response.status_code == 400
        assert field in [issue["field"] for issue in response.json()["validation_issues"]]
        assert on.stage.workers["ams"].asked == []


async def test_a_primary_of_the_callers_cannot_be_stated(tmp_path: Path) -> None:
    primary = document(tmp_path)["primary"] | {"kind": "caller"}
    async with serving(tmp_path, primary=primary) as on:
        assert (await on.callers.post("/mpic/draft-00", json=CAA)).status_code == 501
