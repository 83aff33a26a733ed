"""Rounds from all perspectives, one perspective at a time; a beacon that is unreachable counts only where another reaches it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from appliance.config import RovConfig
from appliance.coordinator.rov.rounds import judge_round, lost_round
from appliance.coordinator.rov.standings import Rules, Standing, Standings
from appliance.coordinator.rov.vrps import VrpWatch
from appliance.errors import ApplianceError, ChannelClosed
from appliance.evidence.record import Actor, EventRecord, EventType, InForce, Receipt, utc_text
from appliance.model.rov import BeaconKind, Change, Round, RoundRequest, RoundResult, RoundSeen, RovVerdict
from appliance.policy.rov import worst
from appliance.rpki.beacons import Beacon

_log = logging.getLogger("mpicd.rov")

# A worker ends its rounds itself; this is for one that does not.
_GRACE_S = 15.0


class Asks(Protocol):
    """What measuring needs of `appliance.coordinator.perspectives.Perspectives`."""

    def refresh(self) -> None:
        """Reads the tunnels' state again."""

    def down(self, code: str) -> str | None:
        """Why a perspective cannot be asked now."""

    def ask_round(self, request: RoundRequest) -> asyncio.Future[RoundSeen]:
        """What one round saw, to come."""


@dataclass(frozen=True, slots=True)
class Site:
    """A perspective that can be measured. `addresses`: its own, as the Internet sees them."""

    code: str
    addresses: frozenset[str]

    @property
    def versions(self) -> tuple[int, ...]:
        """The IP versions that it reaches the Internet by."""
        return tuple(sorted({6 if ":" in address else 4 for address in self.addresses}))


class Measurement:
    """`sites` by code. `record` makes an event durable; `now` is the clock."""

    def __init__(
        self,
        config: RovConfig,
        beacons: Iterable[Beacon],
        sites: Mapping[str, Site],
        perspectives: Asks,
        standings: Standings,
        vrps: VrpWatch,
        *,
        record: Callable[[EventRecord], Awaitable[Receipt]],
        actor: Actor,
        now: Callable[[], datetime],
    ) -> None:
        self.config = config
        self.beacons = tuple(beacons)
        self.sites = sites
        self.standings = standings
        self.vrps = vrps
        self.rules = Rules(config.enrolment_rounds, config.window_rounds)
        self.now = now
        self._perspectives = perspectives
        self._record = record
        self._actor = actor
        self._one_at_a_time = asyncio.Lock()
        self._in_force: dict[str, tuple[list[Change], InForce | None]] = {}
        self._dead_until_s: dict[tuple[str, int], float] = {}
        self._run = uuid.uuid4().hex
        self._numbers = itertools.count(1)

    async def measure(self, code: str) -> None:
        """One round against every beacon over every IP version of `code`, judged, graded and kept."""
        async with self._one_at_a_time:
            await self.vrps.refresh()
            self._perspectives.refresh()
            asked = [
                (beacon, version)
                for beacon in self.beacons
                for version in self.sites[code].versions
                if version in beacon.versions
            ]
            rounds = await asyncio.gather(*(self._round(code, beacon, version) for beacon, version in asked))
            found = await asyncio.gather(
                *(self._settled(code, *pair, one) for pair, one in zip(asked, rounds, strict=True))
            )
            await self._keep(itertools.chain.from_iterable(found))

    def in_force(self, code: str) -> InForce | None:
        """The worst of what is in force for a perspective, by its record; None where it is not measured."""
        changes = [standing.in_force for standing in self.standings.of(code).values()]
        if not changes:
            return None
        # Asked for every perspective of every decision, and another one only now and then.
        before, found = self._in_force.get(code, ([], None))
        if changes != before:
            verdict = worst([change.verdict for change in changes])
            change = next(one for one in changes if one.verdict is verdict)
            found = InForce(verdict.value, change.at, change.seq, change.hash)
            self._in_force[code] = changes, found
        return found

    def dead(self, beacon: str, version: int) -> bool:
        """Whether nobody reached it, a moment ago."""
        return self._dead_until_s.get((beacon, version), 0.0) > asyncio.get_running_loop().time()

    async def _round(self, code: str, beacon: Beacon, version: int) -> Round:
        limits = self.config
        request = RoundRequest(
            request_id=f"rov-{self._run}-{next(self._numbers)}",
            perspective=code,
            version=version,
            invalid=beacon.invalid.target(),
            valid=None if beacon.valid is None else beacon.valid.target(),
            valid_limit_ms=round(limits.valid_limit_s * 1000),
            invalid_limit_ms=round(limits.invalid_limit_s * 1000),
        )
        reason = self._perspectives.down(code)
        if reason is not None:
            return lost_round(beacon, reason, utc_text(self.now()))
        try:
            # Each probe has its limit for the connection, the TLS handshake and the answer.
            async with asyncio.timeout(3 * (2 * limits.valid_limit_s + limits.invalid_limit_s) + _GRACE_S):
                seen = await self._perspectives.ask_round(request)
        except (ChannelClosed, TimeoutError) as error:
            return lost_round(beacon, str(error) or "no answer in time", utc_text(self.now()))
        now = self.now()
        return judge_round(beacon, seen, self.vrps.fresh(now), self.sites[code].addresses, utc_text(now))

    async def _settled(self, code: str, beacon: Beacon, version: int, one: Round) -> list[tuple[str, int, Round]]:
        """The round as it is kept, and those that it took to find a witness for it."""
        if not _blocked(one):
            return [(code, version, one)]
        witness, tried = await self._witness(code, beacon, version)
        return [(code, version, _witnessed(one, witness)), *tried]

    async def _witness(
        self, code: str, beacon: Beacon, version: int
    ) -> tuple[str | None, list[tuple[str, int, Round]]]:
        """Somebody else who reaches `beacon` now, None where nobody does, and the rounds that it took to find out.

        Asked are those who are known to reach it; before anybody is, all. Their rounds count like any others.
        """
        if self.dead(beacon.name, version):
            return None, []
        able = [one for one in self.sites if one != code and version in self.sites[one].versions]
        known = [one for one in self.standings.reached_by(beacon.name, version) if one in able]
        tried: list[tuple[str, int, Round]] = []
        for other in known or able:
            one = await self._round(other, beacon, version)
            tried.append((other, version, one))
            if one.result is RoundResult.REACHED:
                break
        witness = next((other for other, _, one in tried if one.result is RoundResult.REACHED), None)
        if witness is None:
            self._dead_until_s[beacon.name, version] = asyncio.get_running_loop().time() + self.config.dead_retry_s
            _log.warning("beacon %s over IPv%d is reached by nobody: dead, not filtered", beacon.name, version)
        else:
            self._dead_until_s.pop((beacon.name, version), None)
        return witness, [(other, family, _witnessed(one, witness)) for other, family, one in tried]

    async def expire(self) -> None:
        """Forgets the rounds that are too old to count, and with them what they said."""
        async with self._one_at_a_time:
            oldest = self._oldest()
            stale = [key for key, standing in self.standings.by_key.items() if standing.is_stale(oldest)]
            if stale:
                await self._keep((), stale)

    def _oldest(self) -> str:
        return utc_text(self.now() - timedelta(seconds=self.config.round_max_age_s))

    async def _keep(self, found: Iterable[tuple[str, int, Round]], also: Iterable[tuple[str, int]] = ()) -> None:
        by_standing: dict[tuple[str, int], list[Round]] = {key: [] for key in also}
        for code, version, one in found:
            by_standing.setdefault((code, version), []).append(one)
        oldest = self._oldest()
        for (code, version), rounds in by_standing.items():
            standing = self.standings.by_key[code, version]
            graded = standing.add(rounds, self.rules, oldest)
            change = standing.next_change(graded, self.rules, utc_text(self.now()))
            if change is not None:
                await self._enter(code, version, standing, change)
        await asyncio.to_thread(self.standings.save, self.standings.snapshot())

    async def _enter(self, code: str, version: int, standing: Standing, change: Change) -> None:
        before = standing.in_force.verdict
        event = EventRecord(
            time=change.at,
            type=EventType.VERDICT_CHANGE,
            actor=self._actor,
            subject=code,
            message=f"route origin validation over IPv{version}: {before} -> {change.verdict}: {change.reason}",
            facts=(("family", f"ipv{version}"), ("was", before.value), ("verdict", change.verdict.value)),
        )
        level = logging.INFO if change.verdict is RovVerdict.FILTERING else logging.WARNING
        _log.log(level, "%s: %s", code, event.message)
        # In force at once: what lowers a perspective does not wait for the disk.
        standing.enter(change)
        try:
            receipt = await self._record(event)
        except ApplianceError as error:
            _log.error("%s: the change of verdict was not recorded: %s", code, error)
            return
        if standing.in_force is change:
            standing.history.pop()
            standing.enter(msgspec.structs.replace(change, seq=receipt.seq, hash=receipt.hash))


def _blocked(one: Round) -> bool:
    return one.kind is BeaconKind.PAIR and one.result is RoundResult.BLOCKED


def _witnessed(one: Round, witness: str | None) -> Round:
    if not _blocked(one):
        return one
    result = RoundResult.BLOCKED if witness is not None else RoundResult.UNWITNESSED
    return msgspec.structs.replace(one, result=result, witness=witness)
