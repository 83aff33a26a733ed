"""What durable evidence costs: the same load with the appliance's own store and with one in memory, in turns."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Final

from tests.bench.measure import Figures, appliance_run
from tests.lab import state
from tests.lab.appliance import Appliance
from tests.lab.runtime import Runtime

CONCURRENCY: Final = 16
_TURNS: Final = 4
_RUNTIME: Final = Runtime(state.RUNTIME)
_IN_MEMORY: Final = (str(_RUNTIME.python), str(_RUNTIME.source("tests/bench/memory_store.py")))


@dataclass(frozen=True, slots=True)
class EvidenceCost:
    """Decisions per second with each store, turn by turn, and CPU milliseconds per decision of the appliance's processes."""

    durable: tuple[Figures, ...]
    in_memory: tuple[Figures, ...]

    @property
    def throughput_share(self) -> float:
        """Median throughput with the durable store, as a share of that in memory."""
        return _median(self.durable) / _median(self.in_memory)


def evidence_cost(appliance: Appliance, seconds: float) -> EvidenceCost:
    """Runs both in turns, so that what else the machine does falls on both. Leaves the durable store running."""
    durable, in_memory = [], []
    for _ in range(_TURNS):
        durable.append(_run(appliance, seconds))
        _restart(appliance, _IN_MEMORY)
        in_memory.append(_run(appliance, seconds))
        _restart(appliance)
    return EvidenceCost(tuple(durable), tuple(in_memory))


def _run(appliance: Appliance, seconds: float) -> Figures:
    appliance_run(appliance, "caa", CONCURRENCY, seconds / 4)
    return appliance_run(appliance, "caa", CONCURRENCY, seconds)


def _restart(appliance: Appliance, program: tuple[str, ...] = ()) -> None:
    appliance.kill("mpicd")
    appliance.start_coordinator(program)
    appliance.wait_ready()


def _median(runs: tuple[Figures, ...]) -> float:
    return statistics.median(run.per_second for run in runs)
