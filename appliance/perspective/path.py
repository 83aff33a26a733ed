"""Whether the far end of the perspective's path answers, at small and at full size."""

from __future__ import annotations

import asyncio

from appliance.perspective.assignment import Assignment
from appliance.perspective.echo import echo, payload_bytes

MISSES_UNTIL_DOWN = 3
_ECHO_TIMEOUT_S = 1.0


class PathState:
    """Pure: rounds of probes in, up or down out. Three rounds missed in a row are down, one that was answered is up.

    Where the far end need not answer (`must_answer` False: a site's gateway may filter echo requests), silence counts only
    after it has answered once.
    """

    def __init__(self, *, must_answer: bool) -> None:
        self._must_answer = must_answer
        self._answered = False
        self._misses = MISSES_UNTIL_DOWN
        self.rtt_us: int | None = None

    @property
    def up(self) -> bool:
        """Whether checks may use the path."""
        return self._misses < MISSES_UNTIL_DOWN or not (self._must_answer or self._answered)

    @property
    def missing(self) -> bool:
        """Whether the last round was not answered, though it should have been."""
        return self._misses > 0 and (self._must_answer or self._answered)

    def round(self, rtt_us: int | None) -> None:
        """One round: the round-trip time, or None where any far address did not answer."""
        self.rtt_us = rtt_us
        if rtt_us is None:
            self._misses = min(self._misses + 1, MISSES_UNTIL_DOWN)
        else:
            self._answered = True
            self._misses = 0

    def cut(self) -> None:
        """The path is known to be broken; the next answer brings it up again."""
        self._misses = MISSES_UNTIL_DOWN
        self.rtt_us = None


async def probe(assignment: Assignment) -> int | None:
    """One round: every far address, small and as large as the path takes. Microseconds of the slowest small echo, None
    where one was lost, or where there is no far address. Raises `PermissionError`; see `echo`.
    """
    if not assignment.far_addresses:
        return None
    small = [echo(address, payload_bytes(address, None), _ECHO_TIMEOUT_S) for address in assignment.far_addresses]
    full = [
        echo(address, payload_bytes(address, assignment.probe_mtu), _ECHO_TIMEOUT_S)
        for address in assignment.far_addresses
        if assignment.probe_mtu is not None
    ]
    answers = await asyncio.gather(*small, *full)
    if None in answers:
        return None
    return max(rtt_us for rtt_us in answers[: len(small)] if rtt_us is not None)
