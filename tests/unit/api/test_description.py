"""The description of the API: kept in the repository, true of what is answered, and held to by schemathesis."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from appliance.api.description import description
from appliance.config import TimeLimits
from tests.unit.api.listeners import add, api, free_port
from tests.unit.api.serving import CAA, HTTP_01, built, serving
from tests.unit.api.test_draft import DNS
from tests.unit.api.test_open_mpic_peers import full
from tests.unit.coordinator.workers import CODES, mismatch

KEPT = Path(__file__).parents[3] / "packaging" / "docs" / "openapi.json"
ANSWERS: list[tuple[str, str, dict[str, Any]]] = [
    ("/mpic", "/mpic", CAA),
    ("/mpic", "/v1/mpic", HTTP_01),
    ("/mpic/draft-00", "/mpic/draft-00", DNS),
    ("/perspectives/{code}/check", "/perspectives/ams/check", built()),
]


def kept_text() -> str:
    return json.dumps(description(), indent=1) + "\n"


def test_the_description_is_kept() -> None:
    """`MPIC_KEEP=1 pytest tests/unit/api/test_description.py` writes it anew after a change of the API."""
    if os.environ.get("MPIC_KEEP"):
        KEPT.write_text(kept_text())
    assert KEPT.read_text() == kept_text()


@pytest.mark.parametrize(("described", "path", "body"), ANSWERS)
async def test_answers_are_as_described(tmp_path: Path, described: str, path: str, body: dict[str, Any]) -> None:
    document = description()
    operation = document["paths"][described]["post"]

    def check(part: dict[str, Any], value: Any) -> None:
        schema = part["content"]["application/json"]["schema"] | {"components": document["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(value)

    async with serving(tmp_path) as on:
        assert (await on.callers.get("/openapi.json")).json() == document
        for script in (None, mismatch, full):
            if script is not None:
                on.stage.script(script, *CODES)
            check(operation["requestBody"], body)
            response = await on.callers.post(path, json=body)
            assert response.status_code == 200
            check(operation["responses"]["200"], response.json())
        refused = await on.callers.post(path, json={"surprise": 1})
        check(operation["responses"]["400"], refused.json())


async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    port = free_port()
    configured = api(tmp_path, port=port, authentication="api-key")
    async with serving(tmp_path, limits=TimeLimits(check_s=2, answer_s=5), api=configured) as on:
        key = (await add(on, "schemathesis"))["key"]
        (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.code" = "ams"\n')
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json",
            "--header", f"x-api-key: {key}", "--checks", "all",
            # Rules on names, tokens and dates are not to be said in a schema: what it permits may be a 400.
            "--exclude-checks", "positive_data_acceptance",
            "--max-examples", "15", "--phases", "examples,coverage,fuzzing", "--seed", "7", "--no-color",
            "--suppress-health-check", "all",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await running.communicate()
        assert running.returncode == 0, output.decode()
        assert on.api.metrics.refusals["http-400"] > 100


async def test_the_configuration_is_shown_without_secrets(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        shown = (await on.operators.get("/configz")).json()
        assert shown["caa"]["issuer_domains"] == ["ca.example"]
        assert shown["perspectives"][0]["wireguard"]["private_key_file"] == "/etc/mpic/ams.key"
        assert (await on.callers.get("/configz")).status_code == 404
