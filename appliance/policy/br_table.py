"""BR 3.2.2.9's dated requirements, as data. Dates are the first day on which a row is in force."""

from __future__ import annotations

from datetime import date

from appliance.model.decision import Row

BR_VERSION = "2.2.6"
BR_SECTION = "3.2.2.9"

ROWS: tuple[Row, ...] = (
    Row(since="2025-03-15", remotes_required=2, rir_regions_required=1),
    Row(since="2026-03-15", remotes_required=3, rir_regions_required=2),
    Row(since="2026-06-15", remotes_required=4, rir_regions_required=2),
    Row(since="2026-12-15", remotes_required=5, rir_regions_required=2),
)


def row_at(day: date) -> Row:
    """The row in force on `day`. Before the first row's date, the first row: a clock that is wrong must not ask for less."""
    in_force = [row for row in ROWS if row.since <= day.isoformat()]
    return in_force[-1] if in_force else ROWS[0]


def next_row(day: date) -> Row | None:
    """The row that comes into force after `day`, if one is known."""
    return next((row for row in ROWS if row.since > day.isoformat()), None)


def allowed_non_corroborations(attempted: int) -> int:
    """How many of `attempted` remotes may fail to corroborate: 1 of 2-5, 2 of 6 or more, none below 2."""
    if attempted < 2:
        return 0
    return 1 if attempted <= 5 else 2
