"""Starts again what ended, as the units' `Restart=always` does: a worker whose namespace was replaced, a killed resolver."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from types import TracebackType
from typing import Final

from tests.lab.appliance import Appliance

_RESTART_S: Final = 0.1  # RestartSec of the units


class Supervisor:
    """While open, every process that `appliance` started is started again after its end. `restarts`: how often, by name."""

    def __init__(self, appliance: Appliance) -> None:
        self.restarts: Counter[str] = Counter()
        self._appliance = appliance
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor")

    def __enter__(self) -> Supervisor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_RESTART_S):
            for name in self._appliance.ended():
                try:
                    self._appliance.start(name)
                except (OSError, subprocess.SubprocessError) as error:
                    print(f"supervisor: {name}: {error}", flush=True)
                    continue
                self.restarts[name] += 1
