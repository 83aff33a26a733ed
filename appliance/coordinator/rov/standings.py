"""What is in force for each perspective and IP version, with the rounds it rests on; kept in a file across restarts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from appliance.errors import UNDECODABLE
from appliance.linux.files import write_atomically
from appliance.model.rov import BeaconSeen, Change, FamilyStanding, Grade, Round, RoundResult, RovVerdict
from appliance.policy.rov import comes_into_force, fresh_rounds, grade, window

_MAX_HISTORY = 100
_MAX_BYTES = 64 << 20
_log = logging.getLogger("mpicd.rov")

_WORKS = frozenset({RoundResult.REACHED, RoundResult.COVERED, RoundResult.EXPOSED})

Key = tuple[str, int]


class _Saved(msgspec.Struct):
    perspective: str
    version: int
    in_force: Change
    history: list[Change]
    rounds: list[Round]
    addresses: list[str] = []


_decoder = msgspec.json.Decoder(list[_Saved])


@dataclass(frozen=True, slots=True)
class Rules:
    """How many rounds a grade looks at and a step up takes: `window_rounds`; at enrolment `enrolment_rounds` are enough."""

    enrolment_rounds: int
    window_rounds: int


@dataclass(slots=True)
class Standing:
    """One perspective over one IP version. `history`: former and present changes, newest last."""

    in_force: Change
    history: list[Change] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    def add(self, rounds: Iterable[Round], rules: Rules, oldest: str) -> Grade:
        """Takes rounds in, forgets those before `oldest` (RFC 3339) and beyond the window, and grades what is left."""
        kept = [one for one in (*self.rounds, *rounds) if one.at >= oldest]
        self.rounds = list(window(kept, rules.window_rounds))
        return grade(self.rounds)

    def next_change(self, graded: Grade, rules: Rules, now: str) -> Change | None:
        """The change that `graded` makes, None where none is due."""
        fresh = fresh_rounds(self.rounds, graded, self.in_force.at)
        full = rules.window_rounds if self.history else rules.enrolment_rounds
        if not comes_into_force(self.in_force.verdict, graded, fresh=fresh, full=full):
            return None
        return Change(now, graded.verdict, graded.strong, graded.reason)

    def is_stale(self, oldest: str) -> bool:
        """Whether a round is from before `oldest` (RFC 3339), or a verdict has no round left at all."""
        if self.rounds:
            return self.rounds[0].at < oldest
        return self.in_force.verdict is not RovVerdict.INCONCLUSIVE

    def enter(self, change: Change) -> None:
        """`change` is in force from now on."""
        self.in_force = change
        self.history = [*self.history, change][-_MAX_HISTORY:]

    def enrolled(self, rules: Rules) -> bool:
        """Whether the rounds of enrolment were made, whatever came of them."""
        by_beacon: dict[str, int] = {}
        for one in self.rounds:
            by_beacon[one.beacon] = by_beacon.get(one.beacon, 0) + 1
        return bool(by_beacon) and min(by_beacon.values()) >= rules.enrolment_rounds

    def told(self, version: int, rules: Rules) -> FamilyStanding:
        """For operators."""
        last = self.rounds[-1].at if self.rounds else None
        graded = grade(window(self.rounds, rules.window_rounds))
        return FamilyStanding(version, self.in_force, graded, len(self.rounds), last, tuple(reversed(self.history)))


class Standings:
    """All of them. `addresses`: each perspective's by its code; what was measured from others is of another path."""

    def __init__(self, path: Path, addresses: Mapping[str, frozenset[str]], beacons: frozenset[str], now: str) -> None:
        self._path = path
        self._addresses = {code: sorted(own) for code, own in addresses.items()}
        unmeasured = Change(now, RovVerdict.INCONCLUSIVE, strong=False, reason="not measured yet")
        self.by_key: dict[Key, Standing] = {
            (code, version): Standing(unmeasured)
            for code, own in addresses.items()
            for version in {6 if ":" in address else 4 for address in own}
        }
        for saved in self._load():
            standing = self.by_key.get((saved.perspective, saved.version))
            if standing is not None and saved.addresses == self._addresses[saved.perspective]:
                standing.in_force = saved.in_force
                standing.history = saved.history
                standing.rounds = [one for one in saved.rounds if one.beacon in beacons]

        self._by_code: dict[str, dict[int, Standing]] = {code: {} for code in addresses}
        for (code, version), standing in self.by_key.items():
            self._by_code[code][version] = standing

    def of(self, code: str) -> Mapping[int, Standing]:
        """The standings of one perspective by IP version."""
        return self._by_code.get(code, {})

    def reached_by(self, beacon: str, version: int) -> list[str]:
        """Who reached the invalid side of `beacon` in its window, the most recent first."""
        last: dict[str, str] = {}
        for (code, family), standing in self.by_key.items():
            for one in standing.rounds:
                if family == version and one.beacon == beacon and one.result is RoundResult.REACHED:
                    last[code] = one.at
        return sorted(last, key=lambda code: last[code], reverse=True)

    def newest_of(self, beacon: str, version: int) -> BeaconSeen | None:
        """The newest round in which anybody saw that `beacon` works."""
        found = [
            BeaconSeen(version, one.at, code)
            for (code, family), standing in self.by_key.items()
            for one in standing.rounds
            if family == version and one.beacon == beacon and one.result in _WORKS
        ]
        return max(found, key=lambda seen: seen.at, default=None)

    def snapshot(self) -> bytes:
        """Everything, as it is kept."""
        return msgspec.json.encode(
            [
                _Saved(code, version, standing.in_force, standing.history, standing.rounds, self._addresses[code])
                for (code, version), standing in self.by_key.items()
            ]
        )

    def save(self, snapshot: bytes) -> None:
        """Writes it. A failure is logged: verdicts are in the evidence too, and rounds can be made again."""
        try:
            write_atomically(self._path, snapshot, mode=0o600, durable=True)
        except OSError as error:
            _log.error("%s: %s", self._path, error)

    def _load(self) -> list[_Saved]:
        try:
            with self._path.open("rb") as file:
                return _decoder.decode(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return []
        except (OSError, *UNDECODABLE) as error:
            _log.error("%s: %s; every perspective is measured anew", self._path, error)
            return []
