"""How much one caller may ask: a token bucket for the rate, and a count of what is in flight."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.api.errors import HttpError
from appliance.config import CallerLimits

# Callers are few; a table that strangers could fill would not be bounded by anything else.
_MOST_CALLERS = 4096


@dataclass(slots=True)
class _Use:
    tokens: float
    at_s: float
    in_flight: int = 0


class Limiter:
    """Holds each caller to its limits. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._uses: dict[str, _Use] = {}

    @contextlib.contextmanager
    def one_request(self, caller: str, limits: CallerLimits) -> Iterator[None]:
        """Counts one request from here to the end. Raises `HttpError` 429 with Retry-After where it is one too many."""
        now_s = self._clock()
        use = self._uses.get(caller)
        if use is None:
            self._forget_idle()
            use = self._uses[caller] = _Use(limits.burst, now_s)
        use.tokens = min(limits.burst, use.tokens + (now_s - use.at_s) * limits.requests_per_s)
        use.at_s = now_s
        if use.in_flight >= limits.concurrent:
            raise _too_many(f"{limits.concurrent} requests of this caller are in flight", 1)
        if use.tokens < 1:
            rule = f"more than {limits.requests_per_s} requests per second of this caller"
            raise _too_many(rule, math.ceil((1 - use.tokens) / limits.requests_per_s))
        use.tokens -= 1
        use.in_flight += 1
        try:
            yield
        finally:
            use.in_flight -= 1

    def _forget_idle(self) -> None:
        if len(self._uses) >= _MOST_CALLERS:
            self._uses = {caller: use for caller, use in self._uses.items() if use.in_flight}


def _too_many(rule: str, retry_s: int) -> HttpError:
    return HttpError(429, f"Too many requests: {rule}.", headers=((b"retry-after", str(retry_s).encode()),))
