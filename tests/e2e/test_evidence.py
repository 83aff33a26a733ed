"""Whatever happens to `mpicd`, an answer that a client received has its record, once, in a chain that verifies."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from appliance.evidence.audit import Scope, verify_store
from appliance.evidence.reading import reading
from appliance.evidence.schema import RECORDS
from tests.before import FIRST_HASH
from tests.e2e.asking import caa, decide
from tests.e2e.clients import Clients
from tests.lab import wait_until
from tests.lab.appliance import Appliance
from tests.lab.unix_http import Response

pytestmark = pytest.mark.e2e

CLIENTS = 8
MPICCTL = Path(sys.executable).parent / "mpicctl"


class Load(Clients):
    """Clients without a pause; `answers` by trace identifier."""

    def __init__(self, appliance: Appliance) -> None:
        super().__init__(appliance, CLIENTS, 0)
        self.answers: dict[str, dict[str, Any]] = {}

    def wait_for(self, answers: int) -> None:
        """Return once so many answers came."""
        wait_until(lambda: len(self.answers) >= answers, 30, "answers come")

    def question(self, _number: int) -> dict[str, Any]:
        return caa("free.example")

    def heard(self, _number: int, trace: str, response: Response) -> None:
        if response.status_code == 200:
            self.answers[trace] = response.json()


def kill_under_load(appliance: Appliance, tmp_path: Path, rounds: int) -> None:
    answers: dict[str, dict[str, Any]] = {}
    chance = random.Random(6)
    for _ in range(rounds):
        with Load(appliance) as load:
            load.wait_for(chance.randrange(1, 10 * CLIENTS))
            appliance.kill("mpicd")
        answers |= load.answers
        appliance.start_coordinator()
        wait_until(appliance.ready, 30, "mpicd is back", 0.05)
        appliance.wait_for(set(appliance.codes))
    store = appliance.settings.database
    receipts = tmp_path / "receipts.jsonl"
    receipts.write_bytes(b"".join(msgspec.json.encode(answer) + b"\n" for answer in answers.values()))
    report = verify_store(store, Scope(deep=True, replay=True, receipts=(receipts,)))
    assert report.problems == []
    assert report.receipts == len(answers)
    with reading(store) as connection:
        rows = connection.execute(select(RECORDS.c.trace_id, RECORDS.c.seq).where(RECORDS.c.kind == "decision")).all()
    recorded = {row.trace_id: row.seq for row in rows if row.trace_id in answers}
    assert recorded == {trace: receipt_of(answer)["seq"] for trace, answer in answers.items()}
    assert [
        trace for trace, times in Counter(row.trace_id for row in rows).items() if times > 1 and trace in answers
    ] == []


def receipt_of(answer: dict[str, Any]) -> dict[str, Any]:
    receipt: dict[str, Any] = answer["receipt"]
    return receipt


@pytest.mark.timeout(600)
def test_a_killed_coordinator_loses_no_answer(appliance: Appliance, tmp_path: Path) -> None:
    kill_under_load(appliance, tmp_path, rounds=20)


@pytest.mark.soak
@pytest.mark.timeout(6000)
def test_a_killed_coordinator_loses_no_answer_200_times(appliance: Appliance, tmp_path: Path) -> None:
    kill_under_load(appliance, tmp_path, rounds=200)


def test_the_operators_command_reads_beside_a_running_coordinator(appliance: Appliance) -> None:
    receipt = receipt_of(decide(appliance, caa("honest.example")))
    command = [str(MPICCTL), "--config", str(appliance.config), "evidence"]

    def told(*arguments: str) -> Any:
        done = subprocess.run([*command, *arguments, "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    (shown,) = told("show", str(receipt["seq"]))["records"]
    assert shown["hash"] == receipt["hash"]
    assert shown["record"]["identifier"]["value"] == "honest.example"
    assert told("list", "--domain", "honest.example", "--limit", "1")["records"][0]["seq"] == receipt["seq"]
    (first,) = told("show", "1")["records"]
    assert first["hash"] == FIRST_HASH["0.1.0"], "the chain of the version before goes on"
    verified = told("verify", "--replay")
    assert verified["ok"] is True
    assert verified["head"]["seq"] >= receipt["seq"]
