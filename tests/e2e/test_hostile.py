"""Hostile applicants: each check ends in its own clear error in time, reaches nothing that it must not, and slows nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.table import PASS, TABLE
from tests.e2e.asking import decide
from tests.hostile.addresses import SPECIAL, TLS, ZONE
from tests.hostile.rows import ROWS
from tests.hostile.service import Hostile
from tests.hostile.special import special_destinations
from tests.lab import Lab, topology
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

AT_ONCE = 64
CUT_OFF = "target:check.cancelled"
GOOD = 8
MOST_RSS_KIB = 150 * 1024


@pytest.fixture(scope="module", autouse=True)
def nothing_special_is_reached(lab: Lab, appliance: Appliance) -> Iterator[None]:
    """Captures in each perspective's and each egress's namespace hold no packet to where none may go."""
    namespaces = [*topology.appliance_namespaces().values(), *topology.perspective_namespaces().values()]
    with ExitStack() as stack:
        captures = {name: stack.enter_context(lab.capture(name, "any")) for name in namespaces}
        yield
        for capture in captures.values():
            capture.stop()
        found = {
            name: special_destinations(capture.packets(), appliance.settings) for name, capture in captures.items()
        }
        assert {name: packets for name, packets in found.items() if packets} == {}
        assert all(capture.packets() for capture in captures.values()), "every capture saw something"


def ask_all(appliance: Appliance, bodies: list[dict[str, Any]], at_once: int) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda body: decide(appliance, body), bodies))


def error_types(answer: dict[str, Any]) -> dict[str, str]:
    return {
        part["perspective_code"]: part["check_response"]["errors"][-1]["error_type"]
        for part in (answer["primary"], *answer["perspectives"])
        if part["check_response"]["errors"]
    }


def test_each_ends_in_its_own_error_in_time(appliance: Appliance, hostile: Hostile) -> None:
    answers = ask_all(appliance, [row.body for row in ROWS], 6)
    wrong = {}
    for row, answer in zip(ROWS, answers, strict=True):
        told = error_types(answer)
        # Where two have refused, the answer waits no longer than `straggler_s` for the others.
        whole = {code: one for code, one in told.items() if one != CUT_OFF}
        as_expected = all(re.fullmatch(row.expected, one) for one in whole.values())
        if answer["is_valid"] or set(told) != set(appliance.codes) or not whole or not as_expected:
            wrong[row.target] = (row.expected, told)
    assert wrong == {}, "\n".join(f"{target}: {what}" for target, what in wrong.items())


def test_64_hostile_and_8_good_at_once(appliance: Appliance, hostile: Hostile) -> None:
    good = [row.body for row in TABLE if row.expected == PASS and row.target.count(".") == 2][:GOOD]
    bad = [row.body for row in ROWS]
    bodies = [(bad * 2)[index] for index in range(AT_ONCE)] + good
    answers = ask_all(appliance, bodies, len(bodies))
    assert [answer["is_valid"] for answer in answers[:AT_ONCE]] == [False] * AT_ONCE
    assert [answer["quorum"] for answer in answers[AT_ONCE:]] == ["6/6"] * len(good)
    assert all(answer["is_valid"] for answer in answers[AT_ONCE:])


def test_memory_of_workers(appliance: Appliance, hostile: Hostile) -> None:
    most = {}
    for code in appliance.codes:
        status = Path(f"/proc/{appliance.pid(f'worker-{code}')}/status").read_text()
        (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        most[code] = int(peak)
    assert max(most.values()) < MOST_RSS_KIB, most


def test_every_server_is_asked() -> None:
    from tests.hostile import http  # noqa: PLC0415 -- names that only this test needs

    asked = {row.target.removesuffix(f".{ZONE}").rpartition(".")[2] for row in ROWS}
    assert {*http.BEHAVIOURS, *SPECIAL, *TLS} - {"good"} - {name for name in TLS if name.startswith("alpn")} <= asked
