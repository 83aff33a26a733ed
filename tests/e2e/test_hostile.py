"""Hostile applicants: each check ends in its own clear error in time, reaches nothing that it must not, and slows nobody."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.row import PASS, dcv, wrong
from tests.conformance.table import TABLE
from tests.e2e.asking import decide
from tests.e2e.coordinator import settings
from tests.hostile import http
from tests.hostile.addresses import NAMESPACE, SERVERS, SPECIAL, TLS, WEB, ZONE, kind_of
from tests.hostile.rows import ROWS
from tests.hostile.service import Hostile
from tests.hostile.special import capture_filter, special_destinations
from tests.lab import Lab, topology, wait_until
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

AT_ONCE = 64
GOOD = [row for row in TABLE if row.expected == PASS and row.target.count(".") == 2][:8]
MOST_RSS_KIB = 150 * 1024
# unbound follows eleven restarts.
MOST_LINKS = 12
# A check ends itself at its deadline, or is ended a moment later.
GRACE_S = 0.5
PLANTED = ("127.0.0.9", "udp", 9)
PLANT = """\
import socket, sys
end = (sys.argv[1], int(sys.argv[2]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(end)
s.sendto(b"", end)
"""


@pytest.fixture(scope="module", autouse=True)
def nothing_special_is_reached(lab: Lab, appliance: Appliance) -> Iterator[None]:
    """Captures in each perspective's and each egress's namespace hold no packet to where none may go, but the one planted."""
    namespaces = [*topology.appliance_namespaces().values(), *topology.perspective_namespaces().values()]
    kept = capture_filter(appliance.settings)
    with ExitStack() as stack:
        captures = {name: stack.enter_context(lab.capture(name, "any", kept)) for name in namespaces}
        yield
        for name, capture in captures.items():
            lab.run(name, [sys.executable, "-I", "-S", "-c", PLANT, PLANTED[0], str(PLANTED[2])], check=True)
            capture.stop()
        found = {
            name: special_destinations(capture.packets(), appliance.settings) for name, capture in captures.items()
        }
    assert found == {name: {PLANTED} for name in namespaces}


def ask_all(appliance: Appliance, bodies: list[dict[str, Any]], at_once: int) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda body: decide(appliance, body), bodies))


def parts_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [answer["primary"], *answer["perspectives"]]


def test_each_ends_in_its_own_error_in_time(appliance: Appliance, hostile: Hostile) -> None:
    # Else an answer would not wait for all, once two have refused.
    with settings(appliance, "limits", straggler_s="10.0"):
        answers = ask_all(appliance, [row.body for row in ROWS], 6)
    found = [
        problem for row, answer in zip(ROWS, answers, strict=True) if (problem := wrong(row, answer, appliance.codes))
    ]
    assert found == [], "\n".join(found)
    longest_us = max(part["elapsed_us"] for answer in answers for part in parts_of(answer))
    assert longest_us < (appliance.settings.limits.check_s + GRACE_S) * 1_000_000


def test_64_hostile_and_8_good_at_once(appliance: Appliance, hostile: Hostile) -> None:
    bad = [row.body for row in ROWS]
    answers = ask_all(appliance, [*bad, *bad][:AT_ONCE] + [row.body for row in GOOD], AT_ONCE + len(GOOD))
    assert [answer["is_valid"] for answer in answers[:AT_ONCE]] == [False] * AT_ONCE
    assert [wrong(row, answer, appliance.codes) for row, answer in zip(GOOD, answers[AT_ONCE:], strict=True)] == [
        None
    ] * len(GOOD)


def test_names_with_dead_name_servers_do_not_make_good_names_fail(appliance: Appliance, hostile: Hostile) -> None:
    request = dcv("dns-change", challenge_value="the-token", dns_record_type="TXT")
    dead = [request | {"domain_or_ip_target": f"n{number}.dead.{ZONE}"} for number in range(AT_ONCE)]
    answers = ask_all(appliance, [*dead, *(row.body for row in GOOD)], AT_ONCE + len(GOOD))
    assert not any(answer["is_valid"] for answer in answers[:AT_ONCE])
    assert [wrong(row, answer, appliance.codes) for row, answer in zip(GOOD, answers[AT_ONCE:], strict=True)] == [
        None
    ] * len(GOOD)


def test_nothing_goes_on_once_the_caller_is_answered(lab: Lab, appliance: Appliance, hostile: Hostile) -> None:
    stalling = [row for row in ROWS if "timeout" in row.expected and kind_of(row.target) not in SERVERS]
    ask_all(appliance, [row.body for row in stalling], len(stalling))
    theirs = {str(one) for address in (WEB, *TLS.values()) for one in address}

    def connections(code: str) -> list[str]:
        """Ends of the TCP connections that a perspective still has with them; those closed here alone do not count."""
        lines = lab.run(appliance.netns(code), ["ss", "-Htn"], check=True).stdout.splitlines()
        peers = [line.split()[4].rpartition(":")[0].strip("[]") for line in lines if line.split()[0] == "ESTAB"]
        return [peer for peer in peers if peer in theirs]

    wait_until(lambda: not any(connections(code) for code in appliance.codes), 5, "every connection is closed")


def test_a_chain_without_end_is_left_where_it_was_given_up(lab: Lab, appliance: Appliance, hostile: Hostile) -> None:
    row = next(row for row in ROWS if kind_of(row.target) == "cname-endless")
    with lab.capture(NAMESPACE, "any", "udp dst port 53") as capture:
        decide(appliance, row.body)
        decide(appliance, GOOD[0].body)
    of_the_chain = [question for question in capture.questions() if kind_of(question.name) == "cname-endless"]
    by_asker = Counter((question.source, question.name) for question in of_the_chain)
    assert len(by_asker) >= len(appliance.codes), "positive control"
    assert max(int(name.partition(".")[0]) for _, name in by_asker) <= MOST_LINKS


def test_what_was_forged_is_not_believed(appliance: Appliance, hostile: Hostile) -> None:
    forged = next(row for row in ROWS if kind_of(row.target) == "forged")
    victim = next(row for row in GOOD if row.target == "web.check.test")
    ask_all(appliance, [forged.body], 1)
    assert wrong(victim, decide(appliance, victim.body), appliance.codes) is None


def test_memory_of_workers(appliance: Appliance, hostile: Hostile) -> None:
    most = {}
    for code in appliance.codes:
        status = Path(f"/proc/{appliance.pid(f'worker-{code}')}/status").read_text()
        (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        most[code] = int(peak)
    assert max(most.values()) < MOST_RSS_KIB, most


def test_every_server_is_asked() -> None:
    kinds = {*http.BEHAVIOURS, *http.ENDLESS_REDIRECTS, *SPECIAL, *TLS, *SERVERS}
    of_the_table = {*http.HARMLESS, "silent", "dead", *(name for name in TLS if name.startswith("alpn"))}
    # "late-caa": tests/e2e/test_lookup_failure.py
    assert kinds - of_the_table <= {kind_of(row.target) for row in (*ROWS, *TABLE)} | {"late-caa"}
