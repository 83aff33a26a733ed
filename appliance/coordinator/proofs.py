"""The hand-off proofs of every perspective: judged whenever what they rest on is another, recorded, and held against them."""

from __future__ import annotations

import asyncio
import logging
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from appliance.config import PerspectiveConfig, Settings
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.routing_data import RoutingData
from appliance.evidence.record import Actor, EventRecord, EventType, EvidenceRecord, InForce, Receipt, utc_text
from appliance.model.health import WorkerStatus
from appliance.model.moment import moment_of
from appliance.model.place import Place
from appliance.model.proof import Apartness, Measured, PerspectiveProofs, Proof, ProofKind, Result
from appliance.policy import proofs as single
from appliance.policy.fleet import Fleet, Pair, place_of
from appliance.policy.places import LEAST_ANCHORS, Claims, PlaceVerdict, judge_pairs, judge_places
from appliance.policy.proofs import Expected, RoutingTable
from appliance.policy.rir import region_of
from appliance.policy.unproven import provable_versions

_SKEW = timedelta(seconds=5)
_LOOK_INTERVAL_S = 0.25
# What was proven grows old although nobody says anything new.
_JUDGE_INTERVAL_S = 1.0
_ROUTING_INTERVAL_S = 5.0
_log = logging.getLogger("mpicd")


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands against a perspective's observations, and the proof that was in force. `rov`: the verdict on route origin
    validation that was."""

    withheld: str | None = None
    in_force: InForce | None = None
    rov: InForce | None = None


UNOPPOSED = Standing()

Submit = Callable[[EvidenceRecord], "asyncio.Future[Receipt]"]


class Proofs:
    """Keeps the proofs of all perspectives. `run` has to run; `refresh` may be called at any time, and is cheap."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        perspectives: Perspectives,
        submit: Submit,
        actor: Actor,
        now: Callable[[], datetime],
    ) -> None:
        self._perspectives = perspectives
        self._submit = submit
        self._actor = actor
        self._now = now
        self._valid = timedelta(seconds=settings.limits.anchor_valid_s)
        self._exit_asked = bool(settings.anchors)
        self._exit_provable = provable_versions(settings.anchors)
        self._expected = _expected(settings)
        self._claims = _claims(settings, fleet)
        self._anchors = {name: place.city for name, place in {**self._claims.sites, **self._claims.trusted}.items()}
        self._echoes = {p.code for p in settings.perspectives if p.echo} | set(self._claims.trusted)
        addresses = tuple(address for one in self._expected.values() for address in one.egress_addresses)
        self._data = None if settings.routing is None else RoutingData(settings.routing, addresses)
        self._table = None if self._data is None else RoutingTable(problem="routing data has not been read yet")
        self._told: list[object] = []
        self._seen: list[object] = []
        self.pairs: Mapping[Pair, Apartness] = {}
        self._standing: dict[str, PerspectiveProofs] = {}
        self._standings: dict[str, Standing] = {}

    def of(self, code: str) -> PerspectiveProofs | None:
        """Every proof of `code` as last judged."""
        return self._standing.get(code)

    def all(self) -> tuple[PerspectiveProofs, ...]:
        """Those of every perspective, the primary's first where it has a worker."""
        return tuple(self._standing.values())

    def standings(self) -> Mapping[str, Standing]:
        """What stands against each perspective by what is known now."""
        self.refresh()
        return self._standings

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        routing_due_s = judging_due_s = loop.time()
        while True:
            if self._data is not None and loop.time() >= routing_due_s:
                self._table = await asyncio.to_thread(self._data.read, self._now())
                routing_due_s = loop.time() + _ROUTING_INTERVAL_S
            self.refresh()
            if loop.time() >= judging_due_s:
                self._judge()
                judging_due_s = loop.time() + _JUDGE_INTERVAL_S
            await asyncio.sleep(_LOOK_INTERVAL_S)

    def refresh(self) -> None:
        """Judges again where a worker, a tunnel or the routing data is another than before."""
        self._perspectives.refresh()
        told: list[object] = [self._table]
        for code in self._expected:
            told += (self._perspectives.worker(code), self._perspectives.tunnel(code))
        # Asked twice per decision: where nobody said anything new, nothing is compared but who said it.
        if len(told) == len(self._told) and all(map(operator.is_, told, self._told)):
            return
        self._told = told
        grounds: list[object] = [self._table, *(self._grounds(code) for code in self._expected)]
        if grounds != self._seen:
            self._seen = grounds
            self._judge()

    def _grounds(self, code: str) -> tuple[object, object]:
        """What of a worker's and a tunnel's words the proofs rest on: not the last round trip, nor how much went through."""
        worker, tunnel = self._perspectives.worker(code), self._perspectives.tunnel(code)
        return (
            None if worker is None else msgspec.structs.replace(worker, path_rtt_us=None),
            None if tunnel is None else (tunnel.netns, tunnel.netns_inode, tunnel.state, tunnel.reason),
        )

    def _judge(self) -> None:
        now = self._now()
        measured = {}
        for code in self._expected:
            worker = self._perspectives.worker(code)
            if worker is not None and worker.measured is not None and self._is_recent(worker.measured.at, now):
                measured[code] = worker.measured
        verdicts = judge_places(self._claims, measured)
        self.pairs = judge_pairs(self._claims, verdicts)
        for code, expected in self._expected.items():
            found = self._proofs(expected, verdicts.get(code), measured.get(code), utc_text(now))
            self._conclude(code, found, utc_text(now))

    def _proofs(
        self, expected: Expected, verdict: PlaceVerdict | None, measured: Measured | None, at: str
    ) -> tuple[Proof, ...]:
        code = expected.code
        worker, tunnel = self._perspectives.worker(code), self._perspectives.tunnel(code)
        return (
            single.exit_address(expected, worker, asked=self._exit_asked, provable=self._exit_provable),
            single.origin(expected, self._table),
            self._place(code, worker, verdict, measured),
            single.confinement(worker, tunnel, at=at),
            single.path(expected, worker, tunnel, at=at),
            single.attestation(expected, self._now().date()),
        )

    def _place(
        self, code: str, worker: WorkerStatus | None, verdict: PlaceVerdict | None, measured: Measured | None
    ) -> Proof:
        """As judged; where anchors fall silent on an unbroken path, what they said before holds for a while."""
        city = self._claims.sites[code].city
        asked = len(self._echoes - {code}) >= LEAST_ANCHORS
        found = single.place(verdict, measured, city=city, asked=asked, anchors=self._anchors)
        before = self._standing.get(code)
        silent = measured is None or verdict is None or not verdict.anchors
        if found.result is Result.NOT_CONFIGURED and silent and before is not None:
            # Who was caught is not let off by the silence of the anchors that caught it.
            last = next(proof for proof in before.proofs if proof.kind is ProofKind.PLACE)
            return last if last.result is Result.FAILED else found
        if found.result is Result.MISSING and measured is not None and worker is not None and before is not None:
            last = next(proof for proof in before.proofs if proof.kind is ProofKind.PLACE)
            if last.result is Result.VALID and last.at is not None and self._is_recent(last.at, self._now()):
                return last
        return found

    def _conclude(self, code: str, found: tuple[Proof, ...], at: str) -> None:
        before = self._standing.get(code)
        known = {proof.kind: proof for proof in before.proofs} if before is not None else {}
        dated = tuple(
            msgspec.structs.replace(
                proof,
                since=known[proof.kind].since
                if proof.kind in known and known[proof.kind].result is proof.result
                else at,
            )
            for proof in found
        )
        withheld = single.withheld(dated)
        if before is not None and _summary(before.proofs) == _summary(dated):
            self._put(msgspec.structs.replace(before, proofs=dated, withheld=withheld))
            return
        self._put(PerspectiveProofs(code, withheld, at, dated))
        # What is only not there yet, at the start, is no news.
        if before is None and withheld is not None and all(proof.result is not Result.FAILED for proof in dated):
            return
        self._record(self._standing[code])

    def _put(self, proofs: PerspectiveProofs) -> None:
        """A mapping that was handed out stays as it was."""
        self._standing[proofs.code] = proofs
        in_force = InForce(proofs.withheld or "valid", proofs.since, proofs.seq, proofs.hash)
        self._standings = self._standings | {proofs.code: Standing(proofs.withheld, in_force)}

    def _record(self, proofs: PerspectiveProofs) -> None:
        """Every change of a result is evidence, with all that it rests on."""
        failed = any(proof.result is Result.FAILED for proof in proofs.proofs)
        if proofs.withheld is not None:
            _log.warning("%s does not corroborate: %s", proofs.code, proofs.withheld)
        event = EventRecord(
            time=utc_text(self._now()),
            type=EventType.PROOF_FAILURE if failed else EventType.PROOF,
            actor=self._actor,
            subject=proofs.code,
            message=proofs.withheld or "valid",
            facts=tuple(
                fact
                for proof in proofs.proofs
                for fact in (
                    (str(proof.kind), f"{proof.result}: {proof.text}"),
                    *((f"{proof.kind} {name}", value) for name, value in proof.facts),
                    *((f"{proof.kind} note", note) for note in proof.notes),
                )
            ),
        )
        self._submit(event).add_done_callback(lambda receipt: self._recorded(proofs, receipt))

    def _recorded(self, proofs: PerspectiveProofs, receipt: asyncio.Future[Receipt]) -> None:
        if receipt.cancelled() or receipt.exception() is not None:
            _log.error("a proof of %s was not recorded", proofs.code)
            return
        current = self._standing.get(proofs.code)
        if current is not None and current.since == proofs.since:
            made = receipt.result()
            self._put(msgspec.structs.replace(current, seq=made.seq, hash=made.hash))

    def _is_recent(self, at: str, now: datetime) -> bool:
        moment = moment_of(at)
        # A time from the future was written by a clock that was wrong: it would be recent until then.
        return moment is not None and -_SKEW <= now - moment <= self._valid


def _summary(proofs: tuple[Proof, ...]) -> list[tuple[ProofKind, Result, tuple[str, ...]]]:
    return [(proof.kind, proof.result, proof.notes) for proof in proofs]


def _expected(settings: Settings) -> dict[str, Expected]:
    primary = settings.primary
    found = {}
    if primary.kind == "local":
        addresses = tuple(str(interface.ip) for interface in primary.addresses)
        rir = region_of(primary.place.country)
        found[primary.code] = Expected(primary.code, False, addresses, primary.origin_asn, "", (), None, rir)
    return found | {one.code: _of_remote(one) for one in settings.perspectives}


def _of_remote(one: PerspectiveConfig) -> Expected:
    addresses = tuple(str(address) for address in one.egress_addresses)
    rir = region_of(one.place.country)
    return Expected(one.code, True, addresses, one.origin_asn, one.provider, one.upstreams, one.attested_on, rir)


def _claims(settings: Settings, fleet: Fleet) -> Claims:
    local = settings.primary.kind == "local"
    sites: dict[str, Place] = {site.code: site.place for site in fleet.remotes}
    return Claims(
        sites={fleet.primary.code: fleet.primary.place, **sites},
        trusted={anchor.name: place_of(anchor.place) for anchor in settings.place_anchors},
        primary=fleet.primary.code,
        appliance=fleet.primary.place if local else None,
    )
