"""What the CA's socket refuses, asked with curl as a stranger would; nothing of it reaches a perspective."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.row import dcv
from tests.e2e.asking import caa, decide
from tests.lab import Lab, topology
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e


def curl(appliance: Appliance, *arguments: str, stdin: bytes | None = None) -> tuple[int, bytes]:
    """HTTP status and body."""
    socket = str(appliance.settings.api.socket)
    argv = ["curl", "-s", "--max-time", "20", "--unix-socket", socket, "-w", "\n%{http_code}", *arguments]
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def post(appliance: Appliance, body: str) -> tuple[int, bytes]:
    return curl(appliance, "-H", "Content-Type: application/json", "-d", body, "http://mpic/mpic")


def test_the_specifications_example(appliance: Appliance) -> None:
    example = {
        "check_type": "caa",
        # The specification has a name for documentation, which nobody can validate.
        "domain_or_ip_target": "free.example",
        "trace_identifier": "ac2d0392-8699-4037-a0e0-0a6db1ff8b89",
    }
    status, body = post(appliance, json.dumps(example))
    answer = json.loads(body)
    assert status == 200
    assert answer["trace_identifier"] == example["trace_identifier"]
    assert answer["actual_orchestration_parameters"] == {"perspective_count": 6, "quorum_count": 4, "attempt_count": 1}
    assert len(answer["perspectives"]) == 6
    for part in answer["perspectives"]:
        assert part["check_response"]["check_type"] == "caa"
        assert isinstance(part["check_response"]["timestamp_ns"], int)
        assert part["check_response"]["details"]["caa_record_present"] is False


@pytest.mark.parametrize(
    ("orchestration", "named"),
    [
        ({"quorum_count": 0}, b"quorum_count"),
        ({"quorum_count": 3}, b"quorum_count"),
        ({"perspective_count": 1}, b"perspective_count"),
        ({"perspective_count": 7}, b"perspective_count"),
    ],
)
def test_less_than_the_table_is_refused(appliance: Appliance, orchestration: dict[str, int], named: bytes) -> None:
    status, body = post(appliance, json.dumps(caa("honest.example") | {"orchestration_parameters": orchestration}))
    assert status == 400
    assert named in body


def test_more_than_the_table_is_honoured(appliance: Appliance) -> None:
    answer = decide(appliance, caa("honest.example") | {"orchestration_parameters": {"quorum_count": 6}})
    assert answer["actual_orchestration_parameters"]["quorum_count"] == 6
    assert answer["is_valid"] is True


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        "null",
        '{"check_type": "caa"}',
        '{"check_type": "caa", "domain_or_ip_target": "a b"}',
        '{"check_type": "caa", "domain_or_ip_target": "example.com:80"}',
        '{"check_type": "caa", "domain_or_ip_target": "user@example.com"}',
        '{"check_type": "caa", "domain_or_ip_target": "example.com/path"}',
        '{"check_type": "caa", "domain_or_ip_target": "example.com", "unknown": 1}',
        '{"check_type": "caa", "check_type": "dcv", "domain_or_ip_target": "example.com"}',
    ],
)
def test_malformed_requests(appliance: Appliance, body: str) -> None:
    status, answer = post(appliance, body)
    assert status == 400
    assert json.loads(answer)["error"]


@pytest.mark.parametrize(
    ("target", "request_"),
    [
        *((name, caa("")) for name in ("host.internal", "x.alt", "router.home.arpa", "80.20.18.198.in-addr.arpa")),
        ("*.80.20.18.198.in-addr.arpa", caa("")),
        ("example.com", caa("")),
        *(
            (address, dcv(method, **parameters))
            for address in ("10.0.0.1", "127.0.0.1", "fe80::1", "::ffff:1.2.3.4")
            for method, parameters in (
                ("reverse-address-lookup", {"challenge_value": "web.check.test"}),
                (
                    "dns-persistent",
                    {"issuer_domain_names": ["ca.example"], "expected_account_uri": "https://ca.example/1"},
                ),
            )
        ),
    ],
)
def test_what_nobody_can_show_control_of_is_refused(
    appliance: Appliance, target: str, request_: dict[str, Any]
) -> None:
    status, body = post(appliance, json.dumps(request_ | {"domain_or_ip_target": target}))
    assert status == 400, body
    assert b"domain_or_ip_target" in body
    assert b"nobody can show control" in body


def test_a_large_body_is_refused_before_it_is_read(appliance: Appliance, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b" " * 10_000_000)
    status, _ = curl(
        appliance, "-H", "Content-Type: application/json", "--data-binary", f"@{large}", "http://mpic/mpic"
    )
    assert status == 413


def test_a_wrong_method_and_a_wrong_path(appliance: Appliance) -> None:
    assert curl(appliance, "http://mpic/mpic")[0] == 405
    assert curl(appliance, "-X", "DELETE", "http://mpic/mpic")[0] == 405
    assert curl(appliance, "http://mpic/nothing")[0] == 404


def test_a_refused_request_reaches_no_perspective(lab: Lab, appliance: Appliance) -> None:
    name = "never-asked.honest.example"
    with lab.capture(topology.SYSTEM_BY_NAME["quay"].namespace, "any", "dst port 53") as capture:
        status, _ = post(appliance, json.dumps(caa(name) | {"orchestration_parameters": {"quorum_count": 0}}))
        assert status == 400
        for value in ("pki-validation", "pki%2dvalidation", name, "short12"):
            body = dcv("website-change", http_token_path="file.txt", challenge_value=value)
            status, answer = post(appliance, json.dumps(body | {"domain_or_ip_target": name}))
            assert (status, b"challenge_value" in answer) == (400, True), (value, answer)
        decide(appliance, caa("asked.honest.example"))
    names = {question.name for question in capture.questions()}
    assert any("asked.honest.example" in one for one in names), "positive control"
    assert not any(name in one for one in names)
