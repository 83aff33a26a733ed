"""Starts the hostile servers in the lab, and ends them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hostile.addresses import DNS, NAMESPACE, TLS, WEB
from tests.lab import netns, processes, state, wait_until
from tests.lab.wait import NotReachedError

ROOT = Path(__file__).parents[2]


class Hostile:
    """The running servers. `log` is what they complained of."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log


@contextmanager
def hostile_servers() -> Iterator[Hostile]:
    """In the lab that is up: addresses, then servers; both gone afterwards."""
    addresses = [DNS, WEB, *TLS.values()]
    for address in addresses:
        netns.attach(NAMESPACE, address)
    ready, log = state.directory("hostile") / "ready", state.directory("log") / "hostile.log"
    ready.unlink(missing_ok=True)
    with log.open("ab") as output:
        argv = [sys.executable, "-m", "tests.hostile", str(ready)]
        process = processes.popen(NAMESPACE, argv, stdout=output, stderr=output, cwd=ROOT)

    def listening() -> bool:
        if process.poll() is not None:
            raise NotReachedError(log.read_text())
        return ready.exists()

    try:
        wait_until(listening, 30, "the hostile servers")
        yield Hostile(process, log)
    finally:
        process.terminate()
        process.wait(10)
        for address in addresses:
            netns.detach(NAMESPACE, address)
