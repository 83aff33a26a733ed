"""Whether a remote perspective may be taken out of service. Pure; blind to health."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from appliance.policy.fleet import Fleet, shortfalls


def objections(fleet: Fleet, drained: Collection[str], code: str, day: date) -> list[str]:
    """Why `code` may not be drained on `day` in addition to `drained`, in words; empty where it may.

    The rest must meet BR 3.2.2.9 by itself: a drained perspective is not attempted, so it is in no quorum's denominator.
    """
    if code == fleet.primary.code:
        return [f"{code} is the primary network perspective; without it there is no decision"]
    if code not in {site.code for site in fleet.remotes}:
        return [f"{code} is no remote perspective; there are {', '.join(site.code for site in fleet.remotes)}"]
    return [f"without {code}: {line}" for line in shortfalls(fleet.without({*drained, code}), day)]
