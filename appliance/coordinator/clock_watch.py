"""For how long the kernel's clock has been without synchronisation."""

from __future__ import annotations

from appliance.linux.clock import ClockState


class ClockWatch:
    """To be told of the clock now and then; what is between two looks is taken to be as at the first of them."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def note(self, state: ClockState, monotonic_s: float) -> int | None:
        """Whole seconds since it was first seen unsynchronised, None while it is synchronised. `monotonic_s`: now."""
        if state.synchronised:
            self._since_s = None
            return None
        if self._since_s is None:
            self._since_s = monotonic_s
        return int(monotonic_s - self._since_s)
