"""10,000 requests that are wrong: each is refused, the process neither stumbles nor grows, and nobody is asked."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from appliance.evidence.reading import reading
from appliance.evidence.schema import RECORDS
from tests.e2e.asking import caa, decide
from tests.e2e.malformed import CALLERS, OPERATORS, Wire, request
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

COUNT = 10_000
WARM_UP = 3_000
GROWTH_KIB = 4 * 1024


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def decisions(appliance: Appliance) -> int:
    with reading(appliance.settings.database) as connection:
        return connection.scalar(select(func.count()).where(RECORDS.c.kind.in_(("decision", "perspective-check")))) or 0


def refused(appliance: Appliance) -> int:
    lines = appliance.ask("GET", "/metrics", operator=True).text.splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("mpic_requests_refused_total{"))


@pytest.mark.timeout(600)
def test_ten_thousand_malformed_requests(appliance: Appliance) -> None:
    api, pid, chance = appliance.settings.api, appliance.pid("mpicd"), random.Random(7)
    wires = ((Wire(api.socket), CALLERS), (Wire(api.operator_socket), OPERATORS))
    decided, counted = decisions(appliance), refused(appliance)
    statuses: Counter[int] = Counter()
    before_kib = 0
    for number in range(COUNT):
        if number == WARM_UP:
            before_kib = resident_kib(pid)
        wire, paths = wires[number % 2]
        data = request(chance, paths)
        status = wire.send(data)
        assert 400 <= status < 500, (status, data[:2000])
        statuses[status] += 1
    after_kib = resident_kib(pid)
    for wire, _ in wires:
        wire.close()
    assert after_kib - before_kib < GROWTH_KIB, (before_kib, after_kib)
    assert {400, 404, 405, 413, 415, 431} <= set(statuses)
    assert refused(appliance) - counted == COUNT
    assert decisions(appliance) == decided
    assert appliance.pid("mpicd") == pid
    assert appliance.ended() == []
    assert decide(appliance, caa("free.example"))["is_valid"] is True
