"""What a worker says to its resolver's control socket, and that no name can say more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.perspective.unbound_control import ResolverRefused, flush_caa, flush_infrastructure


async def _told(path: Path, answer: bytes, *names: str) -> list[bytes]:
    heard: list[bytes] = []

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(control, path)
    async with server:
        for name in names:
            await flush_caa(path, name, 5)
        await flush_infrastructure(path, 5)
    return heard


async def test_commands(tmp_path: Path) -> None:
    heard = await _told(tmp_path / "s", b"ok\n", "www.example.org", "_a.xn--bcher-kva.example")
    assert heard == [
        b"UBCT1 flush_type www.example.org CAA\n",
        b"UBCT1 flush_type _a.xn--bcher-kva.example CAA\n",
        b"UBCT1 flush_infra all\n",
    ]


@pytest.mark.parametrize("name", ["a.example\nstop", "a b", "", "-" * 256, "\u00e9.example"])
async def test_a_name_is_one_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResolverRefused, match="no name"):
        await flush_caa(tmp_path / "s", name, 5)


async def test_a_refusal_and_an_absence_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ResolverRefused, match="answered"):
        await _told(tmp_path / "s", b"error unknown command\n", "a.example")
    with pytest.raises(ResolverRefused):
        await flush_caa(tmp_path / "none", "a.example", 5)
