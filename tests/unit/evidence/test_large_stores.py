"""Whole stores in little memory, as the kernel counts it, and at the speed of hashing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.evidence.checkpoint import KEY_NAME, CheckpointKey
from appliance.evidence.index import columns_of
from appliance.evidence.ledger import Ledger
from appliance.evidence.perspectives import perspective_set_of
from appliance.evidence.record import Actor, EventRecord, EventType, PerspectiveSetRef, encode, utc_text
from tests.unit.evidence.samples import EPOCH, decision, fleet
from tests.unit.evidence.stores import NAME

# VmHWM counts from the program's start; what wait4(2) tells begins with what the parent had.
MPICCTL = (
    "import atexit, sys; from pathlib import Path; from appliance.cli.context import Invocation; "
    "atexit.register(lambda: sys.stderr.write(Path('/proc/self/status').read_text())); "
    "from appliance.cli.evidence import app; app(sys.argv[1:], obj=Invocation(Path('/nonexistent'), None))"
)
BATCH = 250


def write(directory: Path, records: int) -> Path:
    """A store of `records` decisions and one event, written as fast as the ledger goes."""
    CheckpointKey.load_or_make(directory / KEY_NAME)
    ledger = Ledger(directory / NAME)
    sites = perspective_set_of(fleet())
    event = EventRecord(utc_text(EPOCH), EventType.PERSPECTIVE_SET, Actor(0, "root"), perspective_set=sites)
    (receipt,) = ledger.append([(columns_of(event), encode(event))])
    ref = PerspectiveSetRef(receipt.seq, receipt.hash)
    for first in range(0, records, BATCH):
        batch = [decision(n, name=f"h{n % 1000}.example.com", perspective_set=ref) for n in range(first, first + BATCH)]
        ledger.append([(columns_of(record), encode(record)) for record in batch])
    ledger.close()
    return directory / NAME


def peak_bytes(store: Path, output: Path, *arguments: str) -> int:
    """The largest resident set of an `mpicctl evidence` that succeeded."""
    command = [sys.executable, "-c", MPICCTL, *arguments, "--store", str(store)]
    with output.open("wb") as file:
        process = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 0, process.stderr
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", process.stderr, re.MULTILINE)
    return int(peak) * 1024


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("records", [100_000, 1_000_000])
def test_verify_list_and_export_in_under_200_mb(tmp_path: Path, records: int) -> None:
    store = write(tmp_path, records)
    output = tmp_path / "output"
    for arguments in (
        ("list", "--limit", "0"),
        ("list", "--limit", "0", "--json"),
        ("export",),
        ("export", "--format", "csv"),
        ("export", "--format", "html", "--domain", "h1.example.com"),
        ("verify", "--replay", "--json"),
        ("verify", "--json"),
    ):
        assert peak_bytes(store, output, *arguments) < 200_000_000
    told = json.loads(output.read_bytes())
    assert (told["ok"], told["records"]) == (True, records + 1)
    assert told["record_bytes"] / told["elapsed_ms"] > 100_000
