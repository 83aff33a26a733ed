"""Whatever is killed under a stream of checks: no wrong answer, nothing on the uplink, everything comes back by itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from appliance.evidence.audit import Scope, verify_store
from appliance.evidence.reading import reading
from appliance.evidence.schema import RECORDS
from appliance.perspective.resolver import resolver_paths
from tests.e2e.asking import KEY_AUTHORIZATION, TOKEN, caa, decide, http_01
from tests.e2e.stream import Stream, wrong
from tests.lab import Lab, topology, uplink, wait_until
from tests.lab.appliance import Appliance
from tests.lab.supervisor import Supervisor

pytestmark = pytest.mark.e2e

SITE = topology.PRIMARY
REMOTES = [egress.code for egress in topology.EGRESSES]
BACK_S = 5.0


@pytest.fixture
def token(lab: Lab) -> Iterator[None]:
    lab.set_token("honest.example", TOKEN, KEY_AUTHORIZATION)
    yield
    lab.clear_token("honest.example", TOKEN)


def status_of(appliance: Appliance, code: str) -> dict[str, Any]:
    status = appliance.ask("GET", "/status", operator=True).json()
    (one,) = [entry for entry in (status["primary"], *status["perspectives"]) if entry["code"] == code]
    assert isinstance(one, dict)
    return one


def host_reaches_the_target(lab: Lab) -> int:
    """The positive control: packets of the host's own to the target, as the same classification counts them."""
    with lab.capture(SITE.namespace, SITE.interface) as capture:
        address = topology.WEB_ADDRESSES["quay"].v4
        lab.run(SITE.namespace, ["curl", "-s", "-o", "/dev/null", "--max-time", "5", f"http://{address}/"], check=True)
    return uplink.count(capture.packets())[uplink.OTHER]


class Victims:
    """What may be killed, by kind; `kill` ends one with SIGKILL."""

    KINDS = ("backend", "worker", "resolver", "tunnel daemon")

    def __init__(self, appliance: Appliance, chance: random.Random) -> None:
        self._appliance = appliance
        self._chance = chance
        self.killed: Counter[str] = Counter()

    def kill(self, kind: str) -> None:
        """Ends one that lives, once there is one."""
        pid = wait_until(lambda: self._living(kind), BACK_S * 4, f"a living {kind}")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.killed[kind] += 1

    def _living(self, kind: str) -> int | None:
        code = self._chance.choice(REMOTES if kind == "backend" else self._appliance.codes)
        if kind == "backend":
            try:
                return self._appliance.wireguard_pid(code)
            except ProcessLookupError:
                return None
        name = {"worker": f"worker-{code}", "resolver": f"unbound-{code}"}.get(kind, "mpic-tunneld")
        return None if name in self._appliance.ended() else self._appliance.pid(name)


def processes_of(appliance: Appliance) -> dict[str, int]:
    """Every process of the appliance by name."""
    names = ["mpicd", "mpic-tunneld", *(f"{kind}-{code}" for kind in ("unbound", "worker") for code in appliance.codes)]
    return {name: appliance.pid(name) for name in names} | {
        f"backend-{code}": appliance.wireguard_pid(code) for code in REMOTES
    }


def kill_under_load(lab: Lab, appliance: Appliance, tmp_path: Path, kills: int) -> None:
    chance = random.Random(4)
    victims = Victims(appliance, chance)
    before = processes_of(appliance)
    assert host_reaches_the_target(lab) > 0
    with Supervisor(appliance) as supervisor:
        with lab.capture(SITE.namespace, SITE.interface) as capture, Stream(appliance) as stream:
            for number in range(kills):
                stream.wait_for_more(chance.randrange(2, 12))
                victims.kill(Victims.KINDS[number % len(Victims.KINDS)])
                if chance.random() < 0.7:  # else the next is killed while this one is still away
                    appliance.wait_for(set(appliance.codes))
            appliance.wait_for(set(appliance.codes))
            stream.wait_for_more(12)
        assert sum(supervisor.restarts.values()) >= sum(victims.killed.values()) - victims.killed["backend"]
        assert supervisor.restarts["mpicd"] == 0
    after = processes_of(appliance)
    assert set(after) == set(before)
    assert min(victims.killed.values()) >= kills // len(Victims.KINDS)
    packets = capture.packets()
    found = {
        "wrong": [line for asked in stream.asked for line in wrong(asked)],
        "unanswered": stream.unanswered,
        "on the uplink": uplink.others(packets),
    }
    assert "\n".join(f"{what}: {line}" for what, lines in found.items() for line in lines) == ""
    assert sum(asked.answer["is_valid"] for asked in stream.asked) > 0
    counts = uplink.count(packets)
    assert min(counts[uplink.WIREGUARD], counts[uplink.PRIMARY]) > 0
    each_answer_has_its_record(appliance, stream, tmp_path)


def each_answer_has_its_record(appliance: Appliance, stream: Stream, tmp_path: Path) -> None:
    receipts = tmp_path / "receipts.jsonl"
    receipts.write_bytes(b"".join(msgspec.json.encode(asked.answer) + b"\n" for asked in stream.asked))
    report = verify_store(appliance.settings.database, Scope(deep=True, replay=True, receipts=(receipts,)))
    assert report.problems == []
    assert report.receipts == len(stream.asked)
    with reading(appliance.settings.database) as connection:
        rows = connection.execute(select(RECORDS.c.trace_id).where(RECORDS.c.kind == "decision")).all()
    prefix = stream.asked[0].trace.rpartition("-")[0]
    recorded = [row.trace_id for row in rows if str(row.trace_id).startswith(prefix)]
    assert sorted(recorded) == sorted(asked.trace for asked in stream.asked)


@pytest.mark.usefixtures("token")
@pytest.mark.timeout(600)
def test_20_kills(lab: Lab, appliance: Appliance, tmp_path: Path) -> None:
    kill_under_load(lab, appliance, tmp_path, kills=20)


@pytest.mark.soak
@pytest.mark.usefixtures("token")
@pytest.mark.timeout(6000)
def test_200_kills(lab: Lab, appliance: Appliance, tmp_path: Path) -> None:
    kill_under_load(lab, appliance, tmp_path, kills=200)


@pytest.mark.usefixtures("token")
def test_a_backend_killed_during_a_check_is_no_observation_and_nothing_leaves(lab: Lab, appliance: Appliance) -> None:
    assert host_reaches_the_target(lab) > 0
    before = len(lab.requests_seen("honest.example", "quay"))
    answers: list[dict[str, Any]] = []
    pid = appliance.wireguard_pid("ams")
    with lab.capture(SITE.namespace, SITE.interface) as capture:
        os.kill(pid, signal.SIGSTOP)  # holds the check of this perspective in flight, with the others done
        asking = threading.Thread(target=lambda: answers.append(decide(appliance, http_01("honest.example"))))
        asking.start()
        wait_until(lambda: len(lab.requests_seen("honest.example", "quay")) >= before + 6, 10, "the others ask")
        os.kill(pid, signal.SIGKILL)
        asking.join()
        appliance.wait_for(set(appliance.codes))
    (answer,) = answers
    assert answer["quorum"] == "5/6"
    (part,) = [part for part in answer["perspectives"] if part["perspective_code"] == "ams"]
    assert part["check_response"]["check_completed"] is False
    assert uplink.others(capture.packets()) == []


def test_a_killed_backend_comes_back_in_time(appliance: Appliance) -> None:
    code = REMOTES[-1]
    before = appliance.wireguard_pid(code)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not status_of(appliance, code)["ready"], BACK_S, f"{code} is not ready")
    wait_until(lambda: status_of(appliance, code)["ready"], BACK_S, f"{code} is ready again")
    assert appliance.wireguard_pid(code) != before


def test_the_resolver_forgets_the_outage_before_the_perspective_is_ready(appliance: Appliance) -> None:
    control = resolver_paths(appliance.settings, "ams").control_socket
    away = control.with_name("away")
    control.rename(away)
    try:
        before = appliance.wireguard_pid("ams")
        os.kill(before, signal.SIGKILL)
        wait_until(
            lambda: f"resolver: {control}" in status_of(appliance, "ams")["reason"], 15, "the flush is tried in vain"
        )
        assert appliance.wireguard_pid("ams") != before, "the tunnel is back, and only the flush is wanting"
    finally:
        away.rename(control)
    appliance.wait_for(set(appliance.codes))


def test_a_namespace_made_anew_under_a_live_worker(lab: Lab, appliance: Appliance) -> None:
    namespace, before = appliance.netns("ams"), status_of(appliance, "ams")["worker"]["netns_inode"]
    with Supervisor(appliance) as supervisor, lab.capture(SITE.namespace, SITE.interface) as capture:
        subprocess.run(["ip", "netns", "del", namespace], check=True)
        subprocess.run(["ip", "netns", "add", namespace], check=True)
        answer = decide(appliance, caa("free.example"))
        assert answer["is_valid"] is True
        # What systemd does not do: a resolver stays where it was started, so it is started again where it belongs.
        wait_until(lambda: supervisor.restarts["worker-ams"] > 0, 15, "the worker ends by itself and is started anew")
        appliance.kill("unbound-ams")
        appliance.wait_for(set(appliance.codes))
    after = status_of(appliance, "ams")["worker"]["netns_inode"]
    assert after == status_of(appliance, "ams")["tunnel"]["netns_inode"] != before
    assert uplink.others(capture.packets()) == []
    assert uplink.count(capture.packets())[uplink.WIREGUARD] > 0
