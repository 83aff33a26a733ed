"""Commands, processes and files of others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from appliance.linux import process
from appliance.linux.files import WrongOwner, ensure_directory, write_atomically
from appliance.linux.process import CommandFailed, run, terminate


async def test_a_failed_command_is_told_ready_to_paste() -> None:
    with pytest.raises(CommandFailed, match=r"^sh -c 'echo no >&2; exit 3': exit status 3: no$"):
        await run("sh", "-c", "echo no >&2; exit 3")


async def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(CommandFailed, match="no end after"):
        await run("sleep", "600", timeout_s=0.05)


async def test_endless_output_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_MOST_OUTPUT", 1000)
    with pytest.raises(CommandFailed, match="more output than 1000"):
        await run("yes")


async def test_standard_input_reaches_the_command() -> None:
    assert await run("cat", stdin=b"secret") == b"secret"


async def test_only_a_process_of_that_program_is_ended() -> None:
    other = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        await terminate(other.pid, "wireguard-go", grace_s=0.05)
        assert other.returncode is None
        await terminate(other.pid, "sleep")
        assert await other.wait() == -15
    finally:
        if other.returncode is None:
            other.kill()


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_atomically(path, b"one", mode=0o644)
    reader = path.open("rb")
    write_atomically(path, b"two", mode=0o600)
    with reader:
        assert reader.read() == b"one"
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_a_directory_gets_its_mode_and_a_link_is_refused(tmp_path: Path) -> None:
    me, mine = os.getuid(), os.getgid()
    ensure_directory(tmp_path / "made", me, mine, 0o1775)
    ensure_directory(tmp_path / "made", me, mine, 0o750)
    assert (tmp_path / "made").stat().st_mode & 0o7777 == 0o750
    (tmp_path / "link").symlink_to(tmp_path / "made")
    with pytest.raises(WrongOwner):
        ensure_directory(tmp_path / "link", me, mine, 0o755)
