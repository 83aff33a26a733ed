"""Others' perspectives against what they report of their egress addresses, anew for each decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from appliance.config import Settings
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.proofs import UNOPPOSED, Standing
from appliance.model.health import WorkerStatus
from appliance.policy.partners import Address, objections, parsed


class Partners:
    """Adds to the standings why a `[[remote_perspectives]]` entry must not count now."""

    def __init__(self, settings: Settings, perspectives: Perspectives) -> None:
        self._perspectives = perspectives
        self._configured = {one.code: _parsed(one.egress_addresses) for one in settings.remote_perspectives}
        self._own = {address: one.code for one in settings.perspectives for address in _parsed(one.egress_addresses)}
        self._local = [one.code for one in settings.perspectives]
        if settings.primary.kind == "local":
            self._local.append(settings.primary.code)
            addresses = _parsed(interface.ip for interface in settings.primary.addresses)
            self._own |= dict.fromkeys(addresses, settings.primary.code)
        self._last: tuple[Mapping[str, Standing], list[WorkerStatus | None], Mapping[str, Standing]] = ({}, [], {})

    def over(self, standings: Mapping[str, Standing]) -> Mapping[str, Standing]:
        """Return `standings` with the entries withheld that contradict the configuration or one another."""
        if not self._configured:
            return standings
        statuses = [self._perspectives.worker(code) for code in (*self._configured, *self._local)]
        below, before, found = self._last
        unchanged = len(statuses) == len(before) and all(map(_same, statuses, before))
        if standings is not below or not unchanged:
            found = self._over(standings)
            self._last = standings, statuses, found
        return found

    def _over(self, standings: Mapping[str, Standing]) -> Mapping[str, Standing]:
        workers = {code: self._perspectives.worker(code) for code in self._configured}
        reported = {code: worker.egress_addresses for code, worker in workers.items() if worker is not None}
        found = dict(standings)
        for code, reason in objections(self._configured, reported, self._seen_own()).items():
            standing = found.get(code, UNOPPOSED)
            if standing.withheld is None:
                found[code] = replace(standing, withheld=f"egress addresses: {reason}")
        return found

    def _seen_own(self) -> dict[Address, str]:
        """With the addresses that anchors saw and proved, which behind a NAT are not the configured ones of the primary.

        Whoever is on a path of ours could forge the others, and so have partners' perspectives withheld."""
        own = dict(self._own)
        for code in self._local:
            worker = self._perspectives.worker(code)
            for text in () if worker is None else worker.authenticated_addresses:
                try:
                    own |= dict.fromkeys(parsed([text]), code)
                except ValueError:
                    continue
        return own


def _parsed(addresses: Iterable[IPv4Address | IPv6Address]) -> frozenset[Address]:
    return parsed(map(str, addresses))


def _same(one: WorkerStatus | None, other: WorkerStatus | None) -> bool:
    return one is other
