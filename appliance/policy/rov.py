"""Rounds to a verdict on route origin validation, and which verdict is in force. Pure: no clock, no I/O.

The path is graded, not the AS: a network that validates but keeps a default route still reaches invalid prefixes, and one
behind a provider that does not validate is captured by an invalid more-specific (a cover beacon shows it).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from appliance.model.rov import BeaconGrade, BeaconKind, Grade, Round, RoundResult, RovVerdict

MIN_ROUNDS: Final = 6
"""Fewer rounds never say BLOCKED: p = 0.0011 at six, one-sided Fisher."""
MIN_OPERATORS: Final = 2
"""Some networks null-route the best-known beacon to pass its test."""
_PPM: Final = 1_000_000
_CONFIDENCE: Final = 0.05
_MIXED_BELOW: Final = 0.01
_DISCARDED: Final = frozenset({RoundResult.LOST, RoundResult.UNWITNESSED})
KEPT_WINDOWS: Final = 3
"""How many windows' rounds are looked through for one window of those that were not discarded."""
_UNUSABLE: Final = frozenset({RoundResult.ROA, RoundResult.STALE, RoundResult.SOURCE})
_AGAINST: Final = _UNUSABLE | {RoundResult.REACHED, RoundResult.EXPOSED, RoundResult.AMBIGUOUS}
_DECIDED: Final = frozenset({"blocked", "reached", "mixed"})
_WORST_FIRST: Final = (RovVerdict.NOT_FILTERING, RovVerdict.INCONCLUSIVE, RovVerdict.PARTIAL, RovVerdict.FILTERING)
# Steps up need a full window; all others are made at once.
_UP: Final = frozenset(
    {(RovVerdict.NOT_FILTERING, RovVerdict.PARTIAL)}
    | {(one, RovVerdict.FILTERING) for one in RovVerdict if one is not RovVerdict.FILTERING}
)


def p_value_ppm(n: int) -> int:
    """1/C(2n, n) in parts per million, rounded up: the chance that `n` valid and `n` invalid probes part so by accident."""
    return -(-_PPM // math.comb(2 * n, n))


def bound_ppm(n: int) -> int:
    """The 95 % upper bound on the share of accepting flows after `n` >= 1 blocked rounds and none reached, rounded up."""
    return math.ceil(_PPM * (1 - math.pow(_CONFIDENCE, 1 / n)))


def worst(verdicts: Sequence[RovVerdict]) -> RovVerdict:
    """An egress takes the worst of its families; without any, nothing is known."""
    return min(verdicts, key=_WORST_FIRST.index, default=RovVerdict.INCONCLUSIVE)


def window(rounds: Sequence[Round], length: int) -> tuple[Round, ...]:
    """Of each beacon, the newest `length` rounds that were not discarded, with what was discarded among them and after them,
    `KEPT_WINDOWS` times `length` in all at most; in their order (oldest first).

    Packets that a lossy path lost are no evidence: they must not push evidence out, nor can they keep it for ever.
    """
    counting: Counter[str] = Counter()
    looked_at: Counter[str] = Counter()
    kept = []
    for one in reversed(rounds):
        looked_at[one.beacon] += 1
        if counting[one.beacon] < length and looked_at[one.beacon] <= KEPT_WINDOWS * length:
            counting[one.beacon] += one.result not in _DISCARDED
            kept.append(one)
    return tuple(reversed(kept))


def grade(rounds: Sequence[Round]) -> Grade:
    """The verdict that these rounds of one perspective and one IP version give, oldest first."""
    by_beacon: dict[str, list[Round]] = {}
    for one in rounds:
        by_beacon.setdefault(one.beacon, []).append(one)
    beacons = tuple(_of_beacon(of) for _, of in sorted(by_beacon.items()))
    pairs = [one for one in beacons if one.kind is BeaconKind.PAIR and one.says in _DECIDED]
    pending = any(one.kind is BeaconKind.PAIR and one.says == "undecided" and one.blocked for one in beacons)
    verdict, strong, reason = _verdict(pairs, _cover(beacons), pending=pending)
    n = min((one.blocked + one.reached for one in pairs), default=0)
    filtering = verdict is RovVerdict.FILTERING
    return Grade(
        verdict=verdict,
        strong=strong,
        n=n,
        p_value_ppm=p_value_ppm(n) if filtering else None,
        bound_ppm=bound_ppm(n) if filtering else None,
        beacons=beacons,
        reason=reason,
    )


def comes_into_force(now: RovVerdict, graded: Grade, *, fresh: int, full: int) -> bool:
    """Whether `graded` replaces `now`: down and sideways at once, up only with a `full` window of `fresh_rounds`."""
    if graded.verdict is now:
        return False
    return (now, graded.verdict) not in _UP or fresh >= full


def fresh_rounds(rounds: Sequence[Round], graded: Grade, since: str) -> int:
    """How many rounds speak for a step to `graded`: of the pair with the fewest, among those that decided.

    For FILTERING, blocked ones since anything spoke against it; for the rest, those that count since `since` (RFC 3339).
    """
    if graded.verdict is RovVerdict.FILTERING:
        counting = {RoundResult.BLOCKED}
        against = [index for index, one in enumerate(rounds) if one.result in _AGAINST]
        fresh = rounds[against[-1] + 1 :] if against else rounds
    else:
        counting = {RoundResult.BLOCKED, RoundResult.REACHED}
        fresh = [one for one in rounds if one.at > since]
    counted = Counter(one.beacon for one in fresh if one.result in counting)
    deciding = [one.beacon for one in graded.beacons if one.kind is BeaconKind.PAIR and one.says in _DECIDED]
    return min((counted[beacon] for beacon in deciding), default=0)


def _of_beacon(rounds: Sequence[Round]) -> BeaconGrade:
    newest = rounds[-1]
    count = Counter(one.result for one in rounds)
    reached = count[RoundResult.REACHED] + count[RoundResult.EXPOSED]
    blocked = count[RoundResult.BLOCKED] + count[RoundResult.COVERED]
    if newest.result in _UNUSABLE:
        says = newest.result.value
    elif newest.kind is BeaconKind.COVER:
        says = "exposed" if reached else "covered" if blocked >= MIN_ROUNDS else "undecided"
    else:
        says = _of_pair(rounds, reached, blocked, count[RoundResult.AMBIGUOUS])
    return BeaconGrade(
        beacon=newest.beacon,
        operator=newest.operator,
        kind=newest.kind,
        says=says,
        reached=reached,
        blocked=blocked,
        ambiguous=count[RoundResult.AMBIGUOUS],
        discarded=len(rounds) - reached - blocked - count[RoundResult.AMBIGUOUS],
    )


def _of_pair(rounds: Sequence[Round], reached: int, blocked: int, ambiguous: int) -> str:
    if reached:
        return "mixed" if blocked and _beyond_loss(rounds, reached, blocked) else "reached"
    return "blocked" if blocked >= MIN_ROUNDS and not ambiguous else "undecided"


def _beyond_loss(rounds: Sequence[Round], reached: int, blocked: int) -> bool:
    """Whether more probes of I were lost than the loss that the probes of V show explains (one-sided Fisher)."""
    lost = sum(one.controls_lost for one in rounds)
    kept = 2 * len(rounds) - lost
    total, failures, probes = lost + kept + blocked + reached, lost + blocked, blocked + reached
    most = min(failures, probes)
    tail = sum(math.comb(failures, k) * math.comb(total - failures, probes - k) for k in range(blocked, most + 1))
    return tail / math.comb(total, probes) < _MIXED_BELOW


def _cover(beacons: Sequence[BeaconGrade]) -> str:
    said = {one.says for one in beacons if one.kind is BeaconKind.COVER}
    return "exposed" if "exposed" in said else "covered" if "covered" in said else ""


def _verdict(pairs: Sequence[BeaconGrade], cover: str, *, pending: bool) -> tuple[RovVerdict, bool, str]:
    """`pending`: a further pair was blocked so far, but in too few rounds to say so."""
    said = Counter(one.says for one in pairs)
    if said["mixed"] or (said["reached"] and said["blocked"]):
        return RovVerdict.PARTIAL, False, "some invalid prefixes are reached and some are not, or only at times"
    if said["blocked"]:
        return _all_blocked({one.operator for one in pairs}, cover)
    if pending and said["reached"]:
        return RovVerdict.INCONCLUSIVE, False, "an invalid prefix is reached, another was not in too few rounds to tell"
    if said["reached"] >= MIN_OPERATORS:
        return RovVerdict.NOT_FILTERING, False, f"the invalid prefixes of {said['reached']} pairs are reached"
    if said["reached"] and cover == "exposed":
        return RovVerdict.NOT_FILTERING, False, "an invalid prefix is reached, and the cover's invalid more-specific"
    return RovVerdict.INCONCLUSIVE, False, "too few pairs with rounds that count"


def _all_blocked(operators: set[str], cover: str) -> tuple[RovVerdict, bool, str]:
    if cover == "exposed":
        return RovVerdict.PARTIAL, False, "no invalid pair is reached, but the cover's invalid more-specific is"
    if len(operators) < MIN_OPERATORS:
        return RovVerdict.INCONCLUSIVE, False, "the beacons of one operator alone never prove filtering"
    if cover == "covered":
        return RovVerdict.FILTERING, True, "no invalid prefix is reached, and the cover's valid site answers"
    return RovVerdict.FILTERING, False, "no invalid prefix is reached"
