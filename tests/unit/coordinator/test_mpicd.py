"""The daemon: what it refuses to start with, and its life from READY to the end of SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.config import Settings, load
from appliance.coordinator.drains import DrainStore
from appliance.coordinator.records import life_event
from appliance.coordinator.store import open_store
from appliance.daemons import mpicd
from appliance.errors import ConfinementBroken
from appliance.evidence.actor import actor_of
from appliance.evidence.audit import Scope, verify_store
from appliance.evidence.reading import entries, reading
from appliance.evidence.record import DecisionRecord, EventRecord, EventType, Software, decode
from appliance.linux.clock import ClockState
from appliance.linux.users import User
from tests.lab.appliance_files import toml
from tests.unit.coordinator.configuration import document
from tests.unit.coordinator.test_perspective_only import mpicctl
from tests.unit.coordinator.workers import FLEET, REMOTES, FakeWorker, eventually

STATUS = "Name:\tmpicd\nCapInh:\t0\nCapPrm:\t{prm}\nCapEff:\t{eff}\nCapBnd:\t000001ffffffffff\nCapAmb:\t0\n"


def test_privileges_are_refused() -> None:
    none = "0000000000000000"
    mpicd.refuse_privileges(64101, STATUS.format(prm=none, eff=none))
    with pytest.raises(ConfinementBroken, match="root"):
        mpicd.refuse_privileges(0, STATUS.format(prm=none, eff=none))
    with pytest.raises(ConfinementBroken, match="CapPrm"):
        mpicd.refuse_privileges(64101, STATUS.format(prm="0000000000001000", eff=none))


def _written(directory: Path, changes: dict[str, Any]) -> Path:
    path = directory / "appliance.toml"
    path.write_text(toml(document(directory) | changes))
    return path


def _refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path) -> list[str]:
    monkeypatch.setattr(mpicd, "refuse_privileges", lambda *_: None)
    with pytest.raises(SystemExit) as exited:
        mpicd.main(["--config", str(path)])
    assert exited.value.code == 78
    return capsys.readouterr().err.splitlines()


def _near(directory: Path) -> list[dict[str, Any]]:
    perspectives: list[dict[str, Any]] = document(directory)["perspectives"]
    perspectives[1]["place"] = {"city": "Utrecht", "country": "NL", "latitude": 52.09, "longitude": 5.12}
    return perspectives


def _states(directory: Path) -> list[dict[str, Any]]:
    """Three states of the USA, whose abbreviations are countries of three regions."""
    perspectives: list[dict[str, Any]] = document(directory)["perspectives"]
    states = [("Chicago", "IL", 41.88, -87.63), ("Atlanta", "GA", 33.75, -84.39), ("Denver", "CO", 39.74, -104.99)]
    for perspective, place in zip(perspectives, states, strict=False):
        perspective["place"] = dict(zip(("city", "country", "latitude", "longitude"), place, strict=True))
    return perspectives


def test_a_set_that_cannot_comply_is_refused_with_file_key_and_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    near = _refused(monkeypatch, capsys, _written(tmp_path, {"perspectives": _near(tmp_path)}))
    assert any(line.startswith(f"{tmp_path}/appliance.toml: ") and "ams and nyc are" in line for line in near)
    few = _refused(monkeypatch, capsys, _written(tmp_path, {"perspectives": document(tmp_path)["perspectives"][:3]}))
    assert any("3 remote, at least" in line for line in few)
    elsewhere = _refused(monkeypatch, capsys, _written(tmp_path, {"perspectives": _states(tmp_path)}))
    assert [line.split(": ")[1] for line in elsewhere] == [f"perspectives.{n}.place.country" for n in (0, 1, 2)]
    assert all("lies in US (United States of America)" in line for line in elsewhere)
    unknown = _refused(monkeypatch, capsys, _written(tmp_path, {"surprise": 1}))
    assert unknown == [f"{tmp_path}/appliance.toml: surprise: Extra inputs are not permitted"]
    assert _refused(monkeypatch, capsys, tmp_path / "absent.toml")
    assert not (tmp_path / "state").exists()


async def test_a_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(_written(tmp_path, {"users": {"api_group": os.getgid(), "operator_group": os.getgid()}}))
    monkeypatch.setattr(mpicd, "find_user", lambda _: User(os.getuid(), os.getgid()))
    # A machine for tests may have no time service, and a clock that was never held decides nothing.
    monkeypatch.setattr(mpicd, "_clock_state", lambda: ClockState(True, 0, 0, 0))
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    told.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    workers = [FakeWorker(site.code, settings.worker_socket(site.code)) for site in (FLEET.primary, *REMOTES)]
    for worker in workers:
        worker.path.parent.mkdir(parents=True)
        await worker.start()
    settings.coordinator_directory.mkdir(parents=True)
    store, drained = open_store(settings), DrainStore(tmp_path / "drained.json")
    serving = asyncio.create_task(mpicd.serve(settings, FLEET, store, Software("0", "ab" * 32), bytes(32), drained))
    await eventually(settings.api.operator_socket.exists, "the sockets are there")
    transport = httpx.AsyncHTTPTransport(uds=str(settings.api.operator_socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://mpic", trust_env=False) as client:
        async with asyncio.timeout(20):
            while (await client.get("/readyz")).status_code != 200:
                pass
        answer = await client.post("/mpic", json={"check_type": "caa", "domain_or_ip_target": "example.com"})
        assert answer.json()["is_valid"] is True
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 20)
    assert not settings.api.socket.exists()
    assert not settings.api.operator_socket.exists()
    with told:
        assert _messages(told) >= {b"READY=1", b"WATCHDOG=1", b"STOPPING=1"}
    for worker in workers:
        worker.stop()
    with reading(settings.database) as connection:
        records = [decode(entry.record) for entry in entries(connection, 0)]
    every = [record.type if isinstance(record, EventRecord) else type(record) for record in records]
    assert every.count(EventType.PROOF) == len(workers), "each perspective's proofs, once"
    kinds = [kind for kind in every if kind is not EventType.PROOF]
    begun = [EventType.PERSPECTIVE_SET, EventType.START, EventType.CONFIGURATION]
    assert kinds == [*begun, DecisionRecord, EventType.STOP]


async def test_a_record_from_the_future_does_not_fix_the_policy_date_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _written(tmp_path, {"users": {"api_group": os.getgid(), "operator_group": os.getgid()}})
    settings, state = load(path), [ClockState(False, 0, 0, 0)]
    monkeypatch.setattr(mpicd, "find_user", lambda _: User(os.getuid(), os.getgid()))
    monkeypatch.setattr(mpicd, "_clock_state", lambda: state[0])
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    settings.coordinator_directory.mkdir(parents=True)
    store = open_store(settings)
    wrong = life_event(EventType.STOP, actor_of(), Software("0", "ab" * 32), (), time="2036-02-29T12:00:00.000000Z")
    await store.writer.submit(wrong)
    await store.close()

    async def policy_date() -> str:
        transport = httpx.AsyncHTTPTransport(uds=str(settings.api.operator_socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://mpic", trust_env=False) as client:
            return str((await client.get("/status")).json()["policy"]["date"])

    async with _running(settings):
        assert await policy_date() == "2036-02-29"
        code, said = await mpicctl(path, "clock", "accept-date")
        assert (code, "not synchronised" in said) == (1, True), said
        assert await policy_date() == "2036-02-29"
        state[0] = ClockState(True, 0, 0, 0)
        code, said = await mpicctl(path, "clock", "accept-date", "--json")
        accepted = json.loads(said)
        today = accepted["date"]
        assert (code, accepted["before"], accepted["changed"]) == (0, "2036-02-29", True)
        assert await policy_date() == today == datetime.now(UTC).date().isoformat()
        assert (await mpicctl(path, "clock", "accept-date"))[1] == f"The policy date is {today}, as it was before.\n"
    for _ in range(2):
        async with _running(settings):
            assert await policy_date() == today, "a later start does not go back to the wrong record"
    with reading(settings.database) as connection:
        records = [decode(entry.record) for entry in entries(connection, 0)]
    (event,) = [one for one in records if isinstance(one, EventRecord) and one.type is EventType.CLOCK_ACCEPTED]
    assert event.actor == actor_of()
    assert dict(event.facts)["before"] == "2036-02-29"
    assert verify_store(settings.database, Scope(deep=True, replay=True)).problems == []


@contextlib.asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[None]:
    """`mpicd` from its store to the end of SIGTERM; no worker is there."""
    store, drained = open_store(settings), DrainStore(settings.state_directory / "drained.json")
    serving = asyncio.create_task(mpicd.serve(settings, FLEET, store, Software("0", "ab" * 32), bytes(32), drained))
    await eventually(settings.api.operator_socket.exists, "the sockets are there")
    yield
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 20)


def test_a_record_from_the_future_does_not_keep_it_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or nobody could say that the record is wrong."""
    path = _written(tmp_path, {"perspectives": document(tmp_path)["perspectives"][:4]})
    monkeypatch.setattr(mpicd, "_now", lambda: datetime(2026, 12, 1, tzinfo=UTC))
    mpicd._warn_of_newest_record(path, load(path), date(2036, 2, 29))
    assert "4 remote, at least 5" in caplog.text
    assert "mpicctl clock accept-date" in caplog.text


def _messages(told: socket.socket) -> set[bytes]:
    found = set()
    try:
        while True:
            found.add(told.recv(4096))
    except BlockingIOError:
        return found
