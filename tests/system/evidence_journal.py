"""Run in a mount namespace of its own: starts a journal there, tells it of two records, prints what it has as JSON lines."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec

from appliance.evidence.announce import message_of
from appliance.evidence.record import Receipt
from appliance.linux.journal import SOCKET, Journal
from tests.unit.evidence.samples import decision, event

JOURNALD = "/lib/systemd/systemd-journald"
ENTRIES = Path("/run/log/journal")
LIMIT_S = 30


def entries() -> list[str]:
    command = ["journalctl", "--directory", str(ENTRIES), "--output", "json", "SYSLOG_IDENTIFIER=mpicd"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def main() -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    SOCKET.parent.mkdir(parents=True)
    ENTRIES.mkdir(parents=True)
    daemon = subprocess.Popen([JOURNALD], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + LIMIT_S
        while not SOCKET.exists() and time.monotonic() < end_s:
            time.sleep(0.02)
        record = decision(1, failing=frozenset({"ams", "nyc", "gru"}))
        request = msgspec.structs.replace(record.request, trace_id="a\n_PID=1\x1b[31m")
        journal = Journal("mpicd")
        journal.send(message_of(msgspec.structs.replace(record, request=request), Receipt(1, "aa")))
        journal.send(message_of(event(2), Receipt(2, "bb")))
        journal.close()
        while len(found := entries()) < 2 and time.monotonic() < end_s:
            time.sleep(0.02)
    finally:
        daemon.terminate()
        daemon.wait()
    sys.stdout.write("\n".join(found) + "\n")


if __name__ == "__main__":
    main()
