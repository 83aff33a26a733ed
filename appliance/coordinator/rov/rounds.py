"""What one round of probes amounts to, before anybody else was asked about the beacon. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.model.rov import BeaconKind, Probe, ProbeOutcome, Round, RoundResult, RoundSeen
from appliance.rpki.beacons import Beacon
from appliance.rpki.vrps import Vrps


def judge_round(beacon: Beacon, seen: RoundSeen, vrps: Vrps | None, own_addresses: frozenset[str], at: str) -> Round:
    """The round as it counts. `vrps` None: stale or none. `own_addresses`: what a beacon may see as the source address.

    BLOCKED still needs a witness (see `Measurement`): a dead beacon looks the same.
    """
    result, detail = _result(beacon, seen, vrps, own_addresses)
    return Round(
        at=at,
        beacon=beacon.name,
        operator=beacon.operator,
        kind=beacon.kind,
        result=result,
        controls_lost=sum(probe.outcome is not ProbeOutcome.REACHED for probe in _controls(seen)),
        address=seen.invalid.address,
        detail=detail,
    )


def lost_round(beacon: Beacon, reason: str, at: str) -> Round:
    """The round of a perspective that could not be asked."""
    return Round(at, beacon.name, beacon.operator, beacon.kind, RoundResult.LOST, detail=reason)


def _controls(seen: RoundSeen) -> Iterator[Probe]:
    return (probe for probe in (seen.before, seen.after) if probe is not None)


def _result(
    beacon: Beacon, seen: RoundSeen, vrps: Vrps | None, own_addresses: frozenset[str]
) -> tuple[RoundResult, str]:
    disqualified = _disqualified(beacon, seen, vrps, own_addresses)
    if disqualified is not None:
        return disqualified
    if beacon.kind is BeaconKind.COVER:
        return _of_cover(beacon, seen.invalid)
    if seen.invalid.outcome is ProbeOutcome.REACHED:
        return RoundResult.REACHED, ""
    lost = [probe for probe in _controls(seen) if probe.outcome is not ProbeOutcome.REACHED]
    if lost:
        return RoundResult.LOST, f"the valid prefix was not reached: {lost[0].detail}"
    blocked = seen.invalid.outcome is ProbeOutcome.BLOCKED
    return (RoundResult.BLOCKED if blocked else RoundResult.AMBIGUOUS), seen.invalid.detail


def _disqualified(
    beacon: Beacon, seen: RoundSeen, vrps: Vrps | None, own_addresses: frozenset[str]
) -> tuple[RoundResult, str] | None:
    """Why nothing that was seen counts, None where it does."""
    if vrps is None:
        return RoundResult.STALE, "no VRPs that are fresh enough"
    invalid, controls = seen.invalid, tuple(_controls(seen))
    for probe in (*controls, invalid):
        if probe.source is not None and probe.source not in own_addresses:
            return RoundResult.SOURCE, f"the beacon saw {probe.source}"
    if invalid.address is None:
        return RoundResult.LOST, invalid.detail
    valid_address = next((probe.address for probe in controls if probe.address is not None), None)
    problem = beacon.route_problem(vrps, valid_address, invalid.address)
    return None if problem is None else (RoundResult.ROA, problem)


def _of_cover(beacon: Beacon, probe: Probe) -> tuple[RoundResult, str]:
    if probe.outcome is not ProbeOutcome.REACHED or probe.site is None:
        return RoundResult.LOST, probe.detail
    covered = probe.site == beacon.valid_site
    return (RoundResult.COVERED if covered else RoundResult.EXPOSED), f"site {probe.site}"
