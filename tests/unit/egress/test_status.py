"""What an egress node tells of itself, and to whom."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from egress import health, report, serve
from egress.health import Health, Updates
from tests.unit.egress.test_egress import parsed

WELL = Health(
    clock_synchronised=True,
    updates=Updates(0, 1),
    lists_age_s=3600,
    reboot_required=False,
    conntrack_count=10,
    conntrack_max=1000,
    backends={"wg0": "kernel"},
)
DOCUMENT: dict[str, Any] = {
    "version": "0.1.0",
    "written_s": 5,
    "problems": ["sysctl net/ipv4/ip_forward=1: not as configured"],
    "port": 51822,
    "updates_as_of_s": 4,
    "interfaces": [
        {
            "name": name,
            "backend": "kernel",
            "addresses": [f"10.{number}.0.1"],
            "peers": [
                {"name": f"of-{name}", "addresses": [f"10.{number}.0.2", f"fd{number}::2"], "sent_bytes": number}
            ],
        }
        for name, number in (("wg0", 77), ("wg1", 78))
    ],
}


def test_a_node_that_is_well_has_no_warnings() -> None:
    assert list(health.warnings(WELL)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clock_synchronised": False}, "clock: not synchronised"),
        ({"clock_synchronised": None}, "clock: the kernel does not tell"),
        ({"updates": Updates(3, 1)}, "3 with security fixes pending"),
        ({"updates": Updates(None, 1)}, "apt does not tell"),
        ({"lists_age_s": 4 * 86400}, "the package lists are 4 days old"),
        ({"lists_age_s": None}, "the package lists were never fetched"),
        ({"reboot_required": True}, "a restart of the machine is required"),
        ({"conntrack_count": 800}, "800 of 1000 entries are in use"),
        ({"backends": {"wg0": "wireguard-go"}}, "interface wg0: WireGuard in user space"),
    ],
)
def test_what_needs_a_look_is_told(change: dict[str, Any], words: str) -> None:
    fields = {name: getattr(WELL, name) for name in Health.__slots__} | change
    (line,) = health.warnings(Health(**fields))
    assert words in line


def test_only_security_updates_are_counted() -> None:
    simulated = (
        "Reading package lists...\n"
        "Inst libc6 [2.36-9+deb12u9] (2.36-9+deb12u14 Debian-Security:12/oldstable-security [amd64])\n"
        "Inst nano [7.2-1] (7.2-1+deb12u1 Debian:12.12/oldstable [amd64])\n"
        "Inst base [1] (2 Debian:12.12/oldstable, Debian-Security:12/oldstable-security [all])\n"
        "Conf libc6 (2.36-9+deb12u14 Debian-Security:12/oldstable-security [amd64])\n"
    )
    assert health.count_security(simulated) == 2


def test_updates_are_asked_for_again_only_when_apt_knows_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists, status = tmp_path / "var/lib/apt/lists", tmp_path / "var/lib/dpkg/status"
    lists.mkdir(parents=True)
    status.parent.mkdir(parents=True)
    status.write_text("")
    (lists / "mirror_dists_bookworm-security_main_binary-amd64_Packages").write_text("")
    asked: list[int] = []

    def security_updates() -> int:
        asked.append(1)
        return len(asked)

    monkeypatch.setattr(health, "_security_updates", security_updates)
    monkeypatch.setattr("egress.wireguard.backend_of", lambda _name: "kernel")
    first = health.look(parsed(), 10**10, None, tmp_path)
    again = health.look(parsed(), 10**10, first.updates, tmp_path)
    assert (first.updates, again.updates, len(asked)) == (first.updates, first.updates, 1)
    changed_s = first.updates.as_of_s + 60
    status.touch()
    os.utime(status, (changed_s, changed_s))
    assert health.look(parsed(), 10**10, first.updates, tmp_path).updates == Updates(2, changed_s)


def test_each_is_told_of_its_own_tunnel_alone() -> None:
    for client in ("10.77.0.2", "fd77::2"):
        told = json.loads(serve.answer(DOCUMENT, client) or b"")
        assert told == {
            "version": "0.1.0",
            "written_s": 5,
            "problems": DOCUMENT["problems"],
            "warnings": [],
            "tunnel": {"interface": "wg0", "backend": "kernel", "name": "of-wg0", "sent_bytes": 77},
        }
    lines = ["interface wg0: not there", "interface wg1: not there", "clock: not synchronised"]
    told = json.loads(serve.answer(DOCUMENT | {"warnings": lines}, "10.78.0.2") or b"")
    assert told["warnings"] == lines[1:]
    assert "wg0" not in json.dumps(told)


@pytest.mark.parametrize("client", ["10.77.0.1", "10.77.0.3", "198.51.100.1", ""])
def test_strangers_are_told_nothing(client: str) -> None:
    assert serve.answer(DOCUMENT, client) is None
    assert serve.answer({}, client) is None


def test_a_wrong_file_is_told_to_those_who_were_told_before() -> None:
    told = report.without_configuration(DOCUMENT)
    assert told["problems"] == ["the node's configuration file is wrong: mpic-egress check says how"]
    assert (told["interfaces"], told["port"]) == (DOCUMENT["interfaces"], 51822)
    assert report.without_configuration({})["interfaces"] == []


def test_a_file_that_is_none_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    assert report.read(file) == {}
    for text in ("", "[]", "{", "\xff"):
        file.write_text(text, encoding="latin-1")
        assert report.read(file) == {}
    report.write(file, DOCUMENT)
    assert report.read(file) == DOCUMENT
    assert file.stat().st_mode & 0o777 == 0o644


async def test_it_listens_where_the_document_says_and_stops_with_it(tmp_path: Path, unused_tcp_port: int) -> None:
    file = tmp_path / "status.json"
    interface = {"name": "wg0", "backend": "kernel", "addresses": ["127.0.0.1", "198.51.100.1"]}
    peers = [{"name": "one", "addresses": ["127.0.0.1"]}]
    report.write(file, DOCUMENT | {"port": unused_tcp_port, "interfaces": [interface | {"peers": peers}]})
    serving = asyncio.create_task(serve.Server(file).run())
    try:
        told = json.loads(await _until(_asked(unused_tcp_port)))
        assert told["tunnel"]["interface"] == "wg0"
        # The other address is not this machine's: it is tried again and again, and the rest goes on.
        file.unlink()
        await _until(_refused(unused_tcp_port))
    finally:
        serving.cancel()


async def test_who_does_not_read_is_let_go(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_SEND_S", 0.1)
    large = b"x" * (64 << 20)
    monkeypatch.setattr(serve, "answer", lambda _document, _client: large)
    file = tmp_path / "status.json"
    interface = {"name": "wg0", "backend": "kernel", "addresses": ["127.0.0.1"], "peers": []}
    report.write(file, DOCUMENT | {"port": unused_tcp_port, "interfaces": [interface]})
    server = serve.Server(file)
    serving = asyncio.create_task(server.run())

    async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1", unused_tcp_port, limit=1024)
        except OSError:
            return None

    async def seen(number: int) -> bool:
        return server._open == number

    try:
        reader, writer = await _until(connected)
        await _until(lambda: seen(1))
        await _until(lambda: seen(0))
        # What it was too slow for is gone; the kernels' buffers had some of it.
        with contextlib.suppress(ConnectionError):
            assert len(await reader.read()) < len(large)
        writer.close()
        file.unlink()
        await _until(_refused(unused_tcp_port))
    finally:
        serving.cancel()


def _asked(port: int) -> Any:
    async def ask() -> bytes:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return b""
        try:
            return await reader.read()
        finally:
            writer.close()

    return ask


def _refused(port: int) -> Any:
    async def ask() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return True
        writer.close()
        return False

    return ask


async def _until(ask: Any) -> Any:
    async with asyncio.timeout(30):
        while not (found := await ask()):  # noqa: ASYNC110 -- another process's state in all but name
            await asyncio.sleep(0.05)
        return found
