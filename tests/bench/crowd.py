"""What good names feel of hostile ones that are checked at the same time."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.load import Result, as_json, closed_loop
from tests.bench.measure import fresh_names, request
from tests.hostile.rows import ROWS
from tests.hostile.service import hostile_servers
from tests.lab.appliance import Appliance

GOOD: Final = 8
HOSTILE: Final = 64
_TURNS: Final = 3
_BODIES: Final = [as_json(row.body) for row in ROWS]


@dataclass(frozen=True, slots=True)
class Crowd:
    """`good` and `hostile`: answers. `wrong`: good names that did not pass, and hostile ones that did. Milliseconds; MB."""

    check: str
    quiet_p95_ms: float
    p95_ms: float
    good: int
    hostile: int
    wrong: int
    most_worker_mb: float

    @property
    def ratio(self) -> float:
        """How many times longer it takes the good names beside the hostile ones."""
        return self.p95_ms / self.quiet_p95_ms


def crowd_run(appliance: Appliance, check: str, seconds: float) -> Crowd:
    """`GOOD` names of `check` in flight, alone and with `HOSTILE` names in flight beside them, in turns."""
    quiet, crowded, hostile = Result(), Result(), Result()
    with hostile_servers():
        for _ in range(_TURNS):
            asyncio.run(_run(appliance, check, seconds / _TURNS, quiet, None))
            asyncio.run(_run(appliance, check, seconds / _TURNS, crowded, hostile))
    return Crowd(
        check,
        quiet.percentile_ms(0.95),
        crowded.percentile_ms(0.95),
        len(crowded.latencies_s),
        len(hostile.latencies_s),
        quiet.wrong + crowded.wrong + len(hostile.latencies_s) - hostile.wrong,
        max(_most_mb(appliance.pid(f"worker-{code}")) for code in appliance.codes),
    )


async def _run(appliance: Appliance, check: str, seconds: float, good: Result, hostile: Result | None) -> None:
    socket, names = appliance.settings.api.socket, fresh_names()

    def body(number: int) -> bytes:
        return as_json(request(check, names(number)))

    crowd: list[asyncio.Task[Result]] = []
    if hostile is not None:
        longest_s = seconds + appliance.settings.limits.answer_s
        hostile_loop = closed_loop(socket, lambda number: _BODIES[number % len(_BODIES)], HOSTILE, longest_s, 0)
        crowd.append(asyncio.create_task(hostile_loop))
        # Until slow ones and quick ones are as mixed as they stay.
        await asyncio.sleep(appliance.settings.limits.answer_s)
    _add(good, await closed_loop(socket, body, GOOD, seconds, 0))
    for task in crowd:
        _add(hostile or Result(), await task)


def _add(total: Result, more: Result) -> None:
    total.seconds += more.seconds
    total.latencies_s += more.latencies_s
    total.wrong += more.wrong
    total.examples += more.examples


def _most_mb(pid: int) -> float:
    (peak_kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(peak_kib) * 1024 / 1e6
