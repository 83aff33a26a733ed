"""Attempts to a verdict, and whether the outstanding ones could still change it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from appliance.model.decision import Verdict
from appliance.policy.fleet import Fleet
from appliance.policy.quorum import judge


@dataclass(frozen=True, slots=True)
class Rules:
    """What one attempt is judged by: the set, the day of the dated table, the count that must corroborate."""

    fleet: Fleet
    day: date
    quorum_count: int

    def verdict(self, *, primary: bool, remotes: Mapping[str, bool]) -> Verdict:
        """The verdict over everything that was asked."""
        return judge(self.fleet, self.day, primary_passed=primary, remotes=remotes, quorum_count=self.quorum_count)

    def settled(self, *, primary: bool | None, remotes: Mapping[str, bool | None]) -> bool:
        """Whether the verdict is the same whatever those still outstanding (None) say. More matches never refuse."""
        corroborating = sum(passed is True for passed in remotes.values())
        refusing = sum(passed is False for passed in remotes.values())
        refused = primary is False or refusing > len(remotes) - self.quorum_count
        if not refused and (primary is None or corroborating < self.quorum_count):
            return False  # the common case, without judging twice
        worst = {code: passed is True for code, passed in remotes.items()}
        if self.verdict(primary=primary is True, remotes=worst).is_valid:
            return True
        best = {code: passed is not False for code, passed in remotes.items()}
        return not self.verdict(primary=primary is not False, remotes=best).is_valid
