"""What a verdict means for a decision: recorded always, warned of or held against the perspective as the policy says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from appliance.coordinator.rov.measurement import Measurement
from appliance.evidence.record import Attempt, InForce
from appliance.model.rov import RovVerdict

_EXPOSED = frozenset({RovVerdict.NOT_FILTERING, RovVerdict.PARTIAL})


class Stand(msgspec.Struct, frozen=True):
    """What holds for one perspective during one attempt. `withheld`: why its match does not count, None where it does."""

    rov: InForce | None = None
    withheld: str | None = None

    def marked(self, attempt: Attempt) -> Attempt:
        """`attempt` with what held when it was asked."""
        if self.rov is None and self.withheld is None:
            return attempt
        withheld = self.withheld if attempt.observation.corroborates else None
        return msgspec.structs.replace(attempt, rov=self.rov, withheld=withheld)


class RovGate:
    """`primary`: the code that the policy `require` leaves alone, since it is remotes that corroborate (BR 3.2.2.9)."""

    def __init__(self, measurement: Measurement, policy: Literal["require", "warn", "record"], primary: str) -> None:
        self._measurement = measurement
        self._policy = policy
        self._primary = primary

    def stand(self, code: str) -> Stand:
        """What holds for `code` now. What was never measured is not FILTERING."""
        found = self._measurement.in_force(code)
        if self._policy != "require" or code == self._primary:
            return Stand(found)
        verdict = RovVerdict.INCONCLUSIVE.value if found is None else found.verdict
        if verdict == RovVerdict.FILTERING:
            return Stand(found)
        return Stand(found, f"route origin validation is required, and its path is {verdict}")

    def warnings(self, codes: Iterable[str]) -> list[str]:
        """With the policy `warn`: who was asked although invalid routes are known to reach it."""
        if self._policy != "warn":
            return []
        stands = {code: self._measurement.in_force(code) for code in codes}
        exposed = {code: found.verdict for code, found in stands.items() if found and found.verdict in _EXPOSED}
        return [f"{code}: RPKI-invalid routes reach its path ({verdict})" for code, verdict in exposed.items()]
