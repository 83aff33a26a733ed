"""Whether a set of observations corroborates: the one place that says yes (BR 3.2.2.9)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from appliance.model.decision import Row, Verdict
from appliance.model.place import Rir
from appliance.policy.br_table import BR_SECTION, allowed_non_corroborations, row_at
from appliance.policy.fleet import Fleet, too_close


def floor_of(row: Row, attempted: int) -> int:
    """The fewest corroborating remotes that the table accepts of `attempted`."""
    return max(attempted, row.remotes_required) - allowed_non_corroborations(attempted)


def judge(
    fleet: Fleet,
    day: date,
    *,
    primary_passed: bool,
    remotes: Mapping[str, bool],
    quorum_count: int | None = None,
) -> Verdict:
    """The verdict over one attempt.

    `remotes`: every remote perspective **attempted**, by code, and whether it corroborates; one that was down, late or
    faulty is in it with False. `quorum_count`: what the caller asks for, where that is more than the table's floor.
    Raises `KeyError` for a code that the fleet does not have.
    """
    row = row_at(day)
    attempted = len(remotes)
    sites = [fleet.site(code) for code, corroborates in remotes.items() if corroborates]
    required = max(floor_of(row, attempted), quorum_count or 0)
    regions = tuple(rir for rir in Rir if any(site.rir is rir for site in sites))
    reasons = []
    if not primary_passed:
        reasons.append(f"the primary network perspective did not pass (BR {BR_SECTION})")
    if attempted < row.remotes_required:
        reasons.append(
            f"{attempted} remote perspectives attempted, at least {row.remotes_required} since {row.since} (BR {BR_SECTION})"
        )
    if len(sites) < required:
        reasons.append(
            f"{len(sites)} of {attempted} remote perspectives corroborate, {required} are needed (BR {BR_SECTION})"
        )
    if len(regions) < row.rir_regions_required:
        reasons.append(
            f"corroborating perspectives lie in {len(regions)} RIR regions, at least {row.rir_regions_required}"
            f" since {row.since} (BR {BR_SECTION})"
        )
    reasons.extend(
        f"{one} and {other} are {metres // 1000} km apart, not distinct (BR 1.6.1)"
        for one, other, metres in too_close(fleet, [fleet.primary.code, *remotes])
    )
    return Verdict(
        is_valid=not reasons,
        quorum=f"{len(sites)}/{attempted}",
        attempted=attempted,
        corroborating=len(sites),
        required=required,
        allowed_non_corroborations=allowed_non_corroborations(attempted),
        rirs=regions,
        primary_passed=primary_passed,
        policy_date=day.isoformat(),
        row=row,
        reasons=tuple(reasons),
    )
