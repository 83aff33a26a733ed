"""`mpicd --perspective-only`, from READY to SIGTERM, and `mpicctl apikey` and `client` against it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from appliance.config import Settings, load
from appliance.coordinator.day import BUILT
from appliance.coordinator.store import open_store
from appliance.coordinator.timekeeping import Clock
from appliance.daemons import mpicd
from appliance.daemons.perspectives_only import serve_perspectives
from appliance.evidence.reading import entries, reading
from appliance.evidence.record import EventRecord, EventType, Software, decode
from appliance.linux.clock import ClockState
from appliance.linux.users import User
from appliance.policy.fleet import fleet_from
from tests.lab.appliance_files import toml
from tests.unit.api.authority import Authority
from tests.unit.api.serving import ASKED
from tests.unit.coordinator.configuration import document
from tests.unit.coordinator.workers import FakeWorker, eventually


def configured(directory: Path, **changes: Any) -> Path:
    users = {"api_group": os.getgid(), "operator_group": os.getgid()}
    path = directory / "appliance.toml"
    path.write_text(toml(document(directory) | {"users": users} | changes))
    return path


async def mpicctl(path: Path, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from appliance.cli.main import main; main()", "--config", str(path), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only: list[dict[str, Any]] = document(tmp_path)["perspectives"][:1]
    path = configured(tmp_path, perspectives=only)
    settings = load(path)
    monkeypatch.setattr(mpicd, "find_user", lambda _: User(os.getuid(), os.getgid()))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    workers = [FakeWorker(code, settings.worker_socket(code)) for code in ("ams", "home")]
    for worker in workers:
        worker.path.parent.mkdir(parents=True)
        await worker.start()
    settings.coordinator_directory.mkdir(parents=True)
    serving = asyncio.create_task(_serve(settings))
    await eventually(settings.api.operator_socket.exists, "the sockets are there")
    transport = httpx.AsyncHTTPTransport(uds=str(settings.api.socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://mpic", trust_env=False) as client:
        async with asyncio.timeout(20):
            while (await client.get("/readyz")).status_code != 200:
                pass
        for code in ("ams", "home"):
            asked = msgspec.json.encode(msgspec.structs.replace(ASKED, perspective=code))
            answer = await client.post(f"/perspectives/{code}/check", content=asked)
            assert answer.json()["corroborates"] is True
        assert (await client.post("/mpic", json={})).status_code == 404
        own = (await client.get("/evidence")).json()["records"]
        assert [one["record"]["subject"] for one in own] == ["ams", "home"]
    operators = httpx.AsyncHTTPTransport(uds=str(settings.api.operator_socket))
    async with httpx.AsyncClient(transport=operators, base_url="http://mpic", trust_env=False) as client:
        metrics = (await client.get("/metrics")).text
        assert 'mpic_perspective_checks_total{perspective="ams",outcome="match"} 1' in metrics
        assert 'mpic_requests_refused_total{reason="http-404"} 1' in metrics
        assert "\nmpic_ready " not in metrics, "no quorum is formed here"
    await _callers(path, tmp_path)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 20)
    for worker in workers:
        worker.stop()
    with reading(settings.database) as connection:
        records = [decode(entry.record) for entry in entries(connection, 0)]
    kinds = [
        record.type for record in records if isinstance(record, EventRecord) and record.type is not EventType.PROOF
    ]
    checks, changes = [EventType.PERSPECTIVE_CHECK] * 2, [EventType.CREDENTIAL] * 3
    assert kinds == [EventType.START, *checks, *changes, EventType.STOP]
    proven = {
        record.subject for record in records if isinstance(record, EventRecord) and record.type is EventType.PROOF
    }
    assert proven == {"ams", "home"}


async def _serve(settings: Settings) -> None:
    store, software = open_store(settings), Software("0", "ab" * 32)
    channels = mpicd._local_channels(settings)
    # A machine for tests may have no time service, and a clock that was never held decides nothing.
    clock = Clock(mpicd._now, lambda: ClockState(True, 0, 0, 0), BUILT)
    await serve_perspectives(settings, fleet_from(settings), channels, store, software, clock, mpicd._until)


async def _callers(path: Path, directory: Path) -> None:
    code, key = await mpicctl(path, "apikey", "add", "ca")
    assert code == 0
    assert key.startswith("mpic_")
    assert (await mpicctl(path, "apikey", "add", "ca"))[0] == 2
    certificate = Authority(directory).issue("partner").certificate
    added = ("client", "add", "partner", "--certificate", str(certificate), "--perspective", "ams")
    assert (await mpicctl(path, *added))[0] == 0
    assert (await mpicctl(path, "client", "revoke", "partner"))[0] == 0
    assert (await mpicctl(path, "client", "revoke", "partner"))[0] == 2
    code, listed = await mpicctl(path, "client", "list", "--json")
    [partner] = json.loads(listed)["callers"]
    assert (code, partner["perspectives"], bool(partner["revoked_at"])) == (0, ["ams"], True)
    code, shown = await mpicctl(path, "apikey", "list")
    assert code == 0
    assert "ca" in shown
    assert key.strip() not in shown


def test_it_needs_something_to_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mpicd, "refuse_privileges", lambda *_: None)
    primary = document(tmp_path)["primary"] | {"kind": "caller"}
    path = configured(tmp_path, primary=primary, perspectives=[])
    with pytest.raises(SystemExit) as exited:
        mpicd.main(["--config", str(path), "--perspective-only"])
    assert exited.value.code == 78
    assert capsys.readouterr().err.startswith(f"{path}: perspectives: --perspective-only needs one")
