"""The date that the dated table is read with: a clock set back must not bring an older row back into force. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime

# The day of this software's making: set by each release, and never later than that.
BUILT = date(2026, 11, 21)


def policy_day(now: datetime, newest_record: datetime | None, built: date) -> date:
    """The latest of the clock's date, the newest record's and the build's, all UTC."""
    days = [now.astimezone(UTC).date(), built]
    if newest_record is not None:
        days.append(newest_record.astimezone(UTC).date())
    return max(days)
