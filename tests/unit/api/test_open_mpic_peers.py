"""Our answers, read by others' software: `open-mpic-core`'s models, and a client generated from the specification."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import open_mpic_core as core
import pytest
from pydantic import TypeAdapter, ValidationError

from appliance.ipc import Connection
from appliance.ipc.messages import Seen
from appliance.model.check import CheckRequest, Method
from appliance.model.observation import (
    CaaFinding,
    CertificateSeen,
    DnssecStatus,
    Hop,
    Lookup,
    Observation,
    Outcome,
    Record,
)
from appliance.model.observation import Connection as Attempted
from tests.unit.api.serving import CAA, serving
from tests.unit.api.test_parameters import METHODS
from tests.unit.coordinator.workers import CODES, FakeWorker, seen

SPECIFICATION = Path(__file__).parent / "specification" / "openapi.yaml"
# Not to be relied on any more on the day that these tests play on.
PAST = {"ip-address"}
# open-mpic-core 6.5.0 has no model of its parameters.
UNKNOWN = {"dns-account-01"}
ANSWER: TypeAdapter[Any] = TypeAdapter(core.MpicResponse)
DCV_ANSWER: TypeAdapter[Any] = TypeAdapter(core.MpicDcvResponse)


def asked(parameters: dict[str, Any]) -> dict[str, Any]:
    target = "192.0.2.1" if parameters["validation_method"] == "reverse-address-lookup" else "example.com"
    return {"check_type": "dcv", "domain_or_ip_target": target, "dcv_check_parameters": parameters}


REQUESTS = [CAA, CAA | {"caa_check_parameters": {"caa_domains": ["ca.example"], "allow_lookup_failure": True}}] + [
    asked(parameters) for parameters, _ in METHODS if parameters["validation_method"] not in PAST
]


def method_asked(request: dict[str, Any]) -> str:
    return str(request.get("dcv_check_parameters", {}).get("validation_method", "caa"))


def full(worker: FakeWorker, connection: Connection, request: CheckRequest) -> None:
    """Sees something at every member; every second perspective sees something else."""
    observation = seen(request, Outcome.MATCH if CODES.index(worker.code) % 2 else Outcome.MISMATCH)
    connection.send(Seen(with_details(observation)))


def with_details(observation: Observation) -> Observation:
    record = Record("example.com", "TXT", 60, '"value"')
    connections = (Attempted("198.51.100.1", 80, connected=True, elapsed_us=1),)
    return msgspec.structs.replace(
        observation,
        lookups=(Lookup("example.com", "TXT", "NOERROR", True, DnssecStatus.SECURE, (record,), (record,)),),
        hops=(
            Hop("http://example.com/x", connections, 301, "https://example.com/x"),
            Hop("https://example.com/x", connections, 200, body_prefix="x\u00ff"),
        ),
        caa=CaaFinding(False, "example.com", ('0 issue "other.example"',), "refuses"),
        certificate=CertificateSeen("00", "example.com", ("dns:example.com",), None, False, True),
    )


def empty(worker: FakeWorker, connection: Connection, request: CheckRequest) -> None:
    connection.send(Seen(seen(request, Outcome.ERROR)))


@pytest.mark.parametrize(
    "request_body", [one for one in REQUESTS if method_asked(one) not in UNKNOWN], ids=method_asked
)
async def test_the_reference_implementations_models_read_every_answer(
    tmp_path: Path, request_body: dict[str, Any]
) -> None:
    body = request_body | {"orchestration_parameters": {"max_attempts": 2, "perspective_count": 6, "quorum_count": 5}}
    async with serving(tmp_path) as on:
        for script in (None, full, empty):
            if script is not None:
                on.stage.script(script, *CODES)
            response = await on.callers.post("/mpic", json=body)
            assert response.status_code == 200, response.text
            answer = response.json()
            read = ANSWER.validate_json(response.content)
            assert read.is_valid is (script is None)
            assert read.check_type == body["check_type"]
            assert len(read.perspectives) == 6
            assert len(read.previous_attempt_results) == (0 if script is None else 1)
            dumped = json.loads(read.model_dump_json())
            # Whatever their model knows has kept its value; a union that chose the wrong branch would have dropped some.
            assert within(dumped, answer), script


async def test_of_the_answer_for_a_method_that_they_do_not_know_only_its_echoed_parameters_are_not_read(
    tmp_path: Path,
) -> None:
    [body] = [one for one in REQUESTS if method_asked(one) in UNKNOWN]
    async with serving(tmp_path) as on:
        answer = (await on.callers.post("/mpic", json=body)).json()
    assert answer["dcv_check_parameters"] == body["dcv_check_parameters"]
    with pytest.raises(ValidationError) as refused:
        DCV_ANSWER.validate_python(answer)
    [error] = refused.value.errors()
    assert (error["type"], error["loc"]) == ("union_tag_invalid", ("dcv_check_parameters",))
    [known] = [one for one in REQUESTS if method_asked(one) == Method.ACME_DNS_01]
    read = DCV_ANSWER.validate_python(answer | {"dcv_check_parameters": known["dcv_check_parameters"]})
    assert read.is_valid is True
    assert len(read.perspectives) == 6


def within(theirs: Any, ours: Any) -> bool:
    """Whether every member of `theirs` that is not a default of their model is in `ours`, equal."""
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and all(within(value, ours[key]) for key, value in theirs.items() if key in ours)
    if isinstance(theirs, list):
        return len(theirs) == len(ours) and all(map(within, theirs, ours))
    return bool(theirs == ours)


PARAMETERS = [
    core.DcvAcmeHttp01ValidationParameters(token="t", key_authorization="t.k"),
    core.DcvAcmeDns01ValidationParameters(key_authorization_hash="ghRCE7ZwHKjsEHvFqGPnZpHcVwzV7cwFJrYmuFxAWcU"),
    core.DcvAcmeTlsAlpn01ValidationParameters(key_authorization_hash="ab" * 32),
    core.DcvWebsiteChangeValidationParameters(challenge_value="secret123", http_token_path="challenge.html"),
    core.DcvDnsChangeValidationParameters(challenge_value="secret123", dns_record_type=core.DnsRecordType.TXT),
    core.DcvDnsChangeValidationParameters(challenge_value="value.example", dns_record_type=core.DnsRecordType.CNAME),
    core.DcvDnsPersistentValidationParameters(
        issuer_domain_names=["ca.example"], expected_account_uri="https://ca.example/1"
    ),
]


async def test_the_reference_implementations_requests_are_understood(tmp_path: Path) -> None:
    orchestration = core.MpicRequestOrchestrationParameters(max_attempts=2)
    requests: list[Any] = [
        core.MpicDcvRequest(
            domain_or_ip_target="example.com", dcv_check_parameters=one, orchestration_parameters=orchestration
        )
        for one in PARAMETERS
    ]
    requests.append(
        core.MpicCaaRequest(domain_or_ip_target="example.com", caa_check_parameters=core.CaaCheckParameters())
    )
    async with serving(tmp_path) as on:
        for request in requests:
            response = await on.callers.post("/mpic", content=request.model_dump_json())
            assert response.status_code == 200, response.text
        cohort = core.MpicRequestOrchestrationParameters(cohort_for_single_attempt=1)
        refused = core.MpicCaaRequest(domain_or_ip_target="example.com", orchestration_parameters=cohort)
        response = await on.callers.post("/mpic", content=refused.model_dump_json())
        assert response.status_code == 400
        [issue] = response.json()["validation_issues"]
        assert issue["loc"] == ["orchestration_parameters", "cohort_for_single_attempt"]
        assert "cohorts are not offered" in issue["msg"]


async def test_a_client_generated_from_the_specification_reads_every_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("post_hooks: []\n")
    generated = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openapi_python_client", "generate", "--path", str(SPECIFICATION), "--meta", "none",
        "--output-path", str(tmp_path / "generated_client"), "--config", str(settings),
    )  # fmt: skip
    assert await generated.wait() == 0
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    models = importlib.import_module("generated_client.models")
    async with serving(tmp_path) as on:
        for script in (None, full, empty):
            if script is not None:
                on.stage.script(script, *CODES)
            for body in REQUESTS:
                if body["check_type"] == "dcv" and method_asked(body) not in set(models.ValidationMethod):
                    continue  # newer than the specification: a client that asks for it knows its answer
                answer = (await on.callers.post("/mpic", json=body)).json()
                read = (models.CAAResponse if body["check_type"] == "caa" else models.DCVResponse).from_dict(answer)
                assert read.is_valid is (script is None)
                assert len(read.perspectives) == 6
                for theirs, ours in zip(read.perspectives, answer["perspectives"], strict=True):
                    assert theirs.perspective_code == ours["perspective_code"]
                    assert theirs.check_response.check_passed is ours["check_response"]["check_passed"]
