"""What good names feel of hostile ones that are checked at the same time.

Two crowds, each beside the same good names in turns with a quiet run. *Holding*: names that stall or drip, started together,
all of them still under way while the good ones are timed: what they hold must cost nobody else anything. *Mixed*: every row
of `tests.hostile.rows`, the next as soon as one has ended. Most end at once, so that this is load like any other, on a machine
that also runs both ends of the tunnels and the hostile servers: its ratio says how the CPU is shared, and is not promised.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.load import Result, as_json, closed_loop
from tests.bench.measure import fresh_names, request
from tests.hostile.addresses import SERVERS, kind_of
from tests.hostile.rows import ROWS
from tests.hostile.service import hostile_servers
from tests.lab.appliance import Appliance

GOOD: Final = 8
HOSTILE: Final = 64
MOST_RATIO: Final = 2.0
LIMITS: Final = {"tls_s": 7.5, "response_s": 7.5}
"""Of the appliance's configuration: names that hold on do so for as long as a check may take."""
# Until what it costs to begin 64 checks is over, and while none of them has ended: a check takes 8 s at most.
_SETTLE_S: Final = 4.0
_MEASURE_S: Final = 1.5
# Of a name whose servers are silent a resolver soon says so at once: what holds is on the website.
_HOLDING: Final = [
    as_json(row.body) for row in ROWS if row.expected.endswith("timeout") and kind_of(row.target) not in SERVERS
]
_MIXED: Final = [as_json(row.body) for row in ROWS]


@dataclass(slots=True)
class Crowd:
    """`quiet`, `crowded`: the good names'. `held`: hostile checks under way at the end of each turn, the fewest."""

    check: str
    quiet: Result = field(default_factory=Result)
    crowded: Result = field(default_factory=Result)
    hostile: Result = field(default_factory=Result)
    held: int = HOSTILE

    @property
    def ratio(self) -> float:
        """How many times longer the good names took, by the 95th percentile."""
        return self.crowded.percentile_ms(0.95) / self.quiet.percentile_ms(0.95)

    @property
    def wrong(self) -> int:
        """Good names that did not pass, and hostile ones that did."""
        return self.quiet.wrong + self.crowded.wrong + len(self.hostile.latencies_s) - self.hostile.wrong


def holding(appliance: Appliance, check: str, seconds: float) -> Crowd:
    """`GOOD` names of `check` in flight beside `HOSTILE` that hold on."""

    async def turn(crowd: Crowd) -> None:
        crowd.quiet.add(await _good(appliance, check))
        hostile = [_ask_once(appliance, _HOLDING[number % len(_HOLDING)]) for number in range(HOSTILE)]
        await asyncio.sleep(_SETTLE_S)
        crowd.crowded.add(await _good(appliance, check))
        crowd.held = min(crowd.held, sum(not task.done() for task in hostile))
        for task in hostile:
            crowd.hostile.add(await task)

    return _in_turns(Crowd(check), turn, seconds)


def mixed(appliance: Appliance, check: str, seconds: float) -> Crowd:
    """`GOOD` names of `check` in flight beside `HOSTILE` of all kinds, always as many."""

    async def turn(crowd: Crowd) -> None:
        crowd.quiet.add(await _good(appliance, check))
        longest_s = _SETTLE_S + _MEASURE_S
        load = asyncio.create_task(
            closed_loop(
                appliance.settings.api.socket, lambda number: _MIXED[number % len(_MIXED)], HOSTILE, longest_s, 0
            )
        )
        await asyncio.sleep(_SETTLE_S)
        crowd.crowded.add(await _good(appliance, check))
        crowd.hostile.add(await load)

    return _in_turns(Crowd(check), turn, seconds)


def most_worker_mb(appliance: Appliance) -> float:
    """The most memory that a worker ever had resident, in MB."""
    found = []
    for code in appliance.codes:
        status = Path(f"/proc/{appliance.pid(f'worker-{code}')}/status").read_text()
        (peak_kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        found.append(int(peak_kib) * 1024 / 1e6)
    return max(found)


def _in_turns(crowd: Crowd, turn: Callable[[Crowd], Coroutine[None, None, None]], seconds: float) -> Crowd:
    with hostile_servers():
        while crowd.crowded.seconds < seconds:
            asyncio.run(turn(crowd))
    return crowd


async def _good(appliance: Appliance, check: str) -> Result:
    names = fresh_names()
    return await closed_loop(
        appliance.settings.api.socket, lambda number: as_json(request(check, names(number))), GOOD, _MEASURE_S, 0
    )


def _ask_once(appliance: Appliance, body: bytes) -> asyncio.Task[Result]:
    # A loop that is over before the first answer.
    return asyncio.create_task(closed_loop(appliance.settings.api.socket, lambda _: body, 1, _SETTLE_S / 2, 0))
