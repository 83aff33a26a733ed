"""A real journal hears of decisions; a file system that is full or read-only refuses them until it is not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import runtime

pytestmark = pytest.mark.system

JOURNALD = Path("/lib/systemd/systemd-journald")


def in_mount_namespace(*arguments: str) -> str:
    """The output of a module of this directory, run where it can mount things that nobody else sees."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_journal_has_the_structured_fields() -> None:
    if not JOURNALD.exists():
        pytest.skip(f"{JOURNALD} is not installed")
    entries = [json.loads(line) for line in in_mount_namespace("tests.system.evidence_journal").splitlines()]
    decision, event = entries
    assert decision["MPIC_DECISION"] == "refused"
    assert decision["MPIC_QUORUM"] == "3/6"
    assert decision["MPIC_PERSPECTIVE"] == ["primary", "ams", "nyc", "gru", "jnb", "nrt", "lax"]
    assert decision["MPIC_NON_CORROBORATION"] == ["ams", "nyc", "gru"]
    assert decision["MPIC_TRACE_ID"] == "a\\n_PID=1\\x1b[31m"
    assert (decision["SYSLOG_IDENTIFIER"], decision["PRIORITY"]) == ("mpicd", "5")
    assert event["MPIC_EVENT"] == "drain"


def test_a_full_or_read_only_file_system_refuses_until_it_is_not(tmp_path: Path) -> None:
    told = json.loads(in_mount_namespace("tests.system.evidence_storage", str(tmp_path)))
    assert told["before"] > 0
    assert told["full"] == ["refused", "refused"]
    assert told["roomy"] == ["written", "written"]
    assert (told["read_only"], told["writable"]) == ("refused", "written")
    assert told["stored"] == told["before"] + 3
    assert told["problems"] == []


WRITER, OPERATOR, OPERATORS = 64001, 64002, 64003
READ = "import sys; from pathlib import Path; from appliance.evidence.audit import Scope, verify_store; \
report = verify_store(Path(sys.argv[1]), Scope(deep=True)); print(report.records, len(report.problems))"


@pytest.fixture
def store() -> Iterator[Path]:
    """A store in a directory of the writer's that the operators' group may only read."""
    directory = runtime.open_directory("mpic-evidence-")
    try:
        store = directory / "evidence"
        store.mkdir()
        os.chown(store, WRITER, OPERATORS)
        store.chmod(0o2750)
        yield store / "evidence.sqlite"
    finally:
        shutil.rmtree(directory)


def python() -> str:
    """The interpreter that users without privileges can run, with the product and these tests."""
    return str(runtime.of_this_process().python)


def read_as_operator(store: Path) -> list[int]:
    """Records and problems, as an operator without any right to write sees them."""
    command = [python(), "-c", READ, str(store)]
    done = subprocess.run(
        command, user=OPERATOR, group=OPERATORS, extra_groups=[], capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


def test_an_operator_reads_beside_a_writer_after_it_and_after_its_death(store: Path) -> None:
    command = [python(), "-m", "tests.unit.evidence.load", str(store)]
    writing = subprocess.Popen(command, user=WRITER, group=WRITER, extra_groups=[], stdout=subprocess.PIPE, text=True)
    with writing as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(20)]
        records, problems = read_as_operator(store)
        assert (records >= len(acknowledged), problems) == (True, 0)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
    records, problems = read_as_operator(store)
    assert (records >= len(acknowledged) + len(rest), problems) == (True, 0)
    closing = [
        python(),
        "-c",
        "import sys; from pathlib import Path; from appliance.evidence.ledger import Ledger; \
Ledger(Path(sys.argv[1])).close()",
        str(store),
    ]
    subprocess.run(closing, user=WRITER, group=WRITER, extra_groups=[], check=True)
    assert read_as_operator(store) == [records, 0]
    assert store.with_name(f"{store.name}-wal").stat().st_size == 0
