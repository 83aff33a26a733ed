"""Nothing that `mpicctl evidence` writes to a terminal moves its cursor; files keep the bytes that were hashed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from appliance.evidence import EvidenceWriter
from tests.unit.evidence.samples import event

HOSTILE = "\x9b2J \x90evil\x9c \u202e\u2028 \U000e0001"


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.sqlite"
    writer = EvidenceWriter.open(path)
    hostile = msgspec.structs.replace(event(1), message=HOSTILE, subject=HOSTILE, facts=((HOSTILE, HOSTILE),))
    await writer.submit(hostile)
    await writer.close()
    return path


def on_terminal(*command: str) -> str:
    """What a command writes to a terminal that is its standard output."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env=os.environ | {"TERM": "xterm"})
        os.close(slave)
        written = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                break
            if not piece:
                break
            written += piece
        assert process.wait(timeout=30) == 0
    finally:
        os.close(master)
    return written.decode()


@pytest.mark.parametrize(
    "arguments",
    [("show", "1"), ("show", "1", "--json"), ("list",), ("list", "--json"), ("export",), ("export", "--format", "csv")],
)
def test_no_control_reaches_a_terminal(store: Path, arguments: tuple[str, ...]) -> None:
    mpicctl = str(Path(sys.executable).parent / "mpicctl")
    written = on_terminal(mpicctl, "evidence", *arguments, "--store", str(store))
    # Of the controls, a terminal gets ends of lines and the colours that are ours.
    left = [char for char in written.replace("\r\n", "").replace("\x1b[", "") if not char.isprintable()]
    assert left == [], written
    if "--json" in arguments or arguments == ("export",):
        assert json.loads(written)
    if arguments == ("show", "1", "--json"):
        assert json.loads(written)["records"][0]["record"]["message"] == HOSTILE


def test_a_file_keeps_the_bytes(store: Path, tmp_path: Path) -> None:
    mpicctl = str(Path(sys.executable).parent / "mpicctl")
    command = [mpicctl, "evidence", "export", "--store", str(store)]
    subprocess.run([*command, "--output", str(tmp_path / "records")], check=True, capture_output=True)
    piped = subprocess.run(command, check=True, capture_output=True).stdout
    assert HOSTILE.encode() in piped
    assert (tmp_path / "records").read_bytes() == piped
