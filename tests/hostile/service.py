"""Starts the hostile servers in the lab, and ends them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.hostile.addresses import NAMESPACE, attached
from tests.lab import netns, processes, state, wait_until
from tests.lab.wait import NotReachedError

ROOT = Path(__file__).parents[2]


KINDS: Final = ("dns", "web")


class Hostile:
    """The running servers. `log` is what they complained of."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], log: Path) -> None:
        self.processes = processes
        self.log = log


@contextmanager
def hostile_servers() -> Iterator[Hostile]:
    """In the lab that is up: addresses, then servers; both gone afterwards."""
    netns.attach(NAMESPACE, *attached())
    log = state.directory("log") / "hostile.log"
    running = Hostile([], log)
    ready = {kind: state.directory("hostile") / kind for kind in KINDS}
    with log.open("ab") as output:
        for kind, file in ready.items():
            file.unlink(missing_ok=True)
            argv = [sys.executable, "-m", "tests.hostile", kind, str(file)]
            running.processes.append(processes.popen(NAMESPACE, argv, stdout=output, stderr=output, cwd=ROOT))

    def listening() -> bool:
        if any(process.poll() is not None for process in running.processes):
            raise NotReachedError(log.read_text())
        return all(file.exists() for file in ready.values())

    try:
        wait_until(listening, 30, "the hostile servers")
        yield running
    finally:
        for process in running.processes:
            process.terminate()
        for process in running.processes:
            process.wait(10)
        netns.detach(NAMESPACE, *attached())
