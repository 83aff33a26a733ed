"""What a verdict means for a decision: recorded always, warned of or held against the perspective as the policy says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from appliance.coordinator.proofs import UNOPPOSED, Standing
from appliance.coordinator.rov.measurement import Measurement
from appliance.evidence.record import InForce
from appliance.model.rov import RovVerdict

_EXPOSED = frozenset({RovVerdict.NOT_FILTERING.value, RovVerdict.PARTIAL.value})


class RovGate:
    """`primary`: the code that the policy `require` leaves alone, since it is remotes that corroborate (BR 3.2.2.9)."""

    def __init__(self, measurement: Measurement, policy: Literal["require", "warn", "record"], primary: str) -> None:
        self._measurement = measurement
        self._policy = policy
        self._primary = primary
        self._codes = tuple(measurement.sites)
        self._last: tuple[Mapping[str, Standing], list[InForce | None], Mapping[str, Standing]] = ({}, [], {})

    def over(self, standings: Mapping[str, Standing]) -> Mapping[str, Standing]:
        """`standings` with the verdicts in force, and what `require` makes of them. What was never measured is not FILTERING."""
        verdicts = [self._measurement.in_force(code) for code in self._codes]
        below, before, found = self._last
        if standings is not below or verdicts != before:
            codes = dict.fromkeys((*standings, *self._codes))
            found = {code: self._over(code, standings.get(code, UNOPPOSED)) for code in codes}
            self._last = standings, verdicts, found
        return found

    def _over(self, code: str, standing: Standing) -> Standing:
        found = self._measurement.in_force(code)
        withheld = standing.withheld
        verdict = RovVerdict.INCONCLUSIVE.value if found is None else found.verdict
        if self._policy == "require" and code != self._primary and verdict != RovVerdict.FILTERING and withheld is None:
            withheld = f"route origin validation is required, and its path is {verdict}"
        return replace(standing, rov=found, withheld=withheld)

    def warnings(self, codes: Iterable[str]) -> list[str]:
        """With the policy `warn`: who was asked although invalid routes are known to reach it."""
        if self._policy != "warn":
            return []
        stands = {code: self._measurement.in_force(code) for code in codes}
        exposed = {code: found.verdict for code, found in stands.items() if found and found.verdict in _EXPOSED}
        return [f"{code}: RPKI-invalid routes reach its path ({verdict})" for code, verdict in exposed.items()]
