"""How near a set is to being unable to comply: by a date of the BRs, or by one further loss. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

from appliance.policy.br_table import next_row
from appliance.policy.fleet import Fleet, shortfalls
from appliance.policy.quorum import judge

NOTICE = timedelta(days=60)


def coming_shortfalls(fleet: Fleet, day: date, notice: timedelta = NOTICE) -> list[str]:
    """What `fleet` lacks for rows of the dated table that come into force within `notice` after `day`, each with its date."""
    found: list[str] = []
    row = next_row(day)
    while row is not None and date.fromisoformat(row.since) <= day + notice:
        since = date.fromisoformat(row.since)
        found += [f"from {row.since}, in {(since - day).days} days: {line}" for line in shortfalls(fleet, since)]
        row = next_row(since)
    return found


def single_losses(fleet: Fleet, day: date, usable: Collection[str]) -> tuple[str, ...]:
    """The remotes among `usable` of which the loss of one more alone would refuse every certificate.

    Empty where no single loss would, and where a quorum is impossible already.
    """

    def possible(codes: Collection[str]) -> bool:
        remotes = {site.code: site.code in codes for site in fleet.remotes}
        return judge(fleet, day, primary_passed=True, remotes=remotes).is_valid

    if not possible(usable):
        return ()
    return tuple(code for code in sorted(usable) if not possible(set(usable) - {code}))
