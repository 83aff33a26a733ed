"""Times as others write them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment_of(text: str) -> datetime | None:
    """An RFC 3339 time, which has its offset; None for anything else, for a leap second, and for what UTC's calendar does
    not have (year 1 or 9999 with an offset that leads out of it)."""
    try:
        moment = datetime.fromisoformat(text.upper())
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
