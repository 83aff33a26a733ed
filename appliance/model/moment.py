"""Times as others write them."""

from __future__ import annotations

from datetime import datetime


def moment_of(text: str) -> datetime | None:
    """An RFC 3339 time, which has its offset; None for anything else, and for a leap second."""
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment
