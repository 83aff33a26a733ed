"""The coordinator's view of itself, as the values of `appliance.model.status`."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import combinations

from appliance import __version__
from appliance.config import PerspectiveConfig, RemotePerspectiveConfig, Settings
from appliance.coordinator.coordinator import Coordinator
from appliance.coordinator.drains import Drains
from appliance.coordinator.proofs import UNOPPOSED, Proofs
from appliance.evidence.record import utc_text
from appliance.model.place import Rir, Site
from appliance.model.proof import Apartness, PerspectiveProofs
from appliance.model.status import (
    ApplianceStatus,
    Distance,
    Neighbour,
    PerspectiveSetReport,
    PerspectiveStatus,
    PolicyStatus,
    Readiness,
    RirCount,
    SharedBy,
    SiteStatus,
)
from appliance.policy import unproven
from appliance.policy.br_table import BR_SECTION, BR_VERSION, next_row, row_at
from appliance.policy.distance import DISTINCT_METRES
from appliance.policy.diversity import Share, shares
from appliance.policy.fleet import Fleet, place_findings, shortfalls
from appliance.policy.margin import coming_shortfalls, single_losses
from appliance.policy.quorum import judge

# The tunnel daemon publishes every few seconds; older than this, what it says may no longer hold.
_STALE_REPORT_S = 60


@dataclass(frozen=True, slots=True)
class Counts:
    """What the API counts: requests in flight, and decisions since the start."""

    in_flight: int
    decisions: int


class StatusView:
    """Answers the operators' questions about `coordinator`, which runs with `settings` and holds to `proofs`."""

    def __init__(
        self,
        settings: Settings,
        coordinator: Coordinator,
        drains: Drains,
        configuration_sha256: str,
        proofs: Proofs | None = None,
    ) -> None:
        self._settings = settings
        self._coordinator = coordinator
        self._drains = drains
        self._proofs = proofs
        self._configuration_sha256 = configuration_sha256
        _, self._place_warnings = place_findings(settings)
        self._started_at = utc_text(coordinator.clock.now())
        configured: tuple[PerspectiveConfig | RemotePerspectiveConfig, ...] = settings.perspectives
        configured += settings.remote_perspectives
        self._configured = {perspective.code: perspective for perspective in configured}

    def readiness(self) -> Readiness:
        """Whether a compliant quorum is possible with what is usable now: judged as if every usable perspective matched."""
        coordinator = self._coordinator
        coordinator.perspectives.refresh()
        down = {site.code: self._down(site.code) for site in coordinator.fleet.remotes}
        own = None if self._settings.primary.kind == "caller" else self._down(coordinator.fleet.primary.code)
        verdict = judge(
            coordinator.fleet,
            coordinator.today(),
            primary_passed=own is None,
            remotes={code: reason is None for code, reason in down.items()},
        )
        reasons = [*verdict.reasons, *self._clock_reasons(), *self._root_anchor_reasons()]
        if coordinator.evidence.failure is not None:
            reasons.append(f"evidence cannot be written: {coordinator.evidence.failure}")
        if reasons:
            every = {coordinator.fleet.primary.code: own, **down}
            reasons += [f"{code}: {reason}" for code, reason in every.items() if reason is not None]
        usable = {code for code, reason in down.items() if reason is None}
        return Readiness(not reasons, tuple(reasons), (*self._warnings(), *self._margins(usable)))

    def status(self, counts: Counts) -> ApplianceStatus:
        """`GET /status`."""
        readiness, fleet = self.readiness(), self._coordinator.configured
        remotes = tuple(self._perspective(site) for site in fleet.remotes)
        return ApplianceStatus(
            version=__version__,
            time=utc_text(self._coordinator.clock.now()),
            started_at=self._started_at,
            configuration_sha256=self._configuration_sha256,
            readiness=readiness,
            policy=self._policy(),
            primary_kind=self._settings.primary.kind,
            primary=self._perspective(fleet.primary),
            perspectives=remotes,
            perspectives_ready=sum(perspective.ready for perspective in remotes),
            in_flight=counts.in_flight,
            decisions=counts.decisions,
        )

    def perspective_set(self) -> PerspectiveSetReport:
        """`GET /perspectives`."""
        fleet = self._coordinator.configured
        sites = (fleet.primary, *fleet.remotes)
        pairs = combinations((site.code for site in sites), 2)
        apart = {} if self._proofs is None else self._proofs.pairs
        return PerspectiveSetReport(
            sites=tuple(self._site(site) for site in sites),
            distances=tuple(
                Distance(
                    *pair,
                    distance_m=fleet.metres[pair],
                    distinct=fleet.metres[pair] >= DISTINCT_METRES,
                    measured=apart.get(pair, Apartness.CONSISTENT),
                )
                for pair in pairs
            ),
            rirs=tuple(
                RirCount(rir, codes)
                for rir in Rir
                if (codes := tuple(site.code for site in fleet.remotes if site.rir is rir))
            ),
            shared=tuple(self._shared()),
            policy=self._policy(),
            proofs=self.proofs(),
        )

    def proofs(self) -> tuple[PerspectiveProofs, ...]:
        """The hand-off proofs of every perspective that has a worker."""
        return () if self._proofs is None else self._proofs.all()

    def _down(self, code: str) -> str | None:
        """Why `code` could not corroborate now: it cannot be asked, or what it observes is withheld."""
        coordinator = self._coordinator
        return coordinator.perspectives.down(code) or coordinator.standing().get(code, UNOPPOSED).withheld

    def _warnings(self) -> Iterator[str]:
        yield from self._place_warnings
        perspectives = self._coordinator.perspectives
        if perspectives.report_problem is not None:
            yield f"no report of the tunnel daemon: {perspectives.report_problem}"
        elif (age_s := int(time.time()) - perspectives.report_updated_s) > _STALE_REPORT_S:
            yield f"the tunnel daemon's report is {age_s} s old"
        yield from self._coordinator.time.warnings()
        standings = self._coordinator.standing()
        for remote in self._settings.remote_perspectives:
            withheld = standings.get(remote.code, UNOPPOSED).withheld
            if withheld is not None:
                yield f"{remote.code}: {withheld}"
        yield from unproven.warnings(self._settings, self._coordinator.today())

    def _clock_reasons(self) -> Iterator[str]:
        reason = self._coordinator.time.refusal()
        if reason is not None:
            yield reason

    def _root_anchor_reasons(self) -> Iterator[str]:
        fleet, perspectives = self._coordinator.fleet, self._coordinator.perspectives
        for site in (fleet.primary, *fleet.remotes):
            worker = perspectives.worker(site.code)
            if worker is not None and worker.root_anchor_problem is not None:
                yield f"{site.code}: {worker.root_anchor_problem}"

    def _margins(self, usable: Collection[str]) -> Iterator[str]:
        """What needs a look before it refuses anything."""
        fleet, day = self._coordinator.fleet, self._coordinator.today()
        yield from coming_shortfalls(fleet, day)
        losses = single_losses(fleet, day, usable)
        if losses:
            yield f"no margin is left: the loss of one of {', '.join(losses)} would refuse every certificate"

    def _policy(self) -> PolicyStatus:
        fleet, day = self._coordinator.fleet, self._coordinator.today()
        coming = next_row(day)
        return PolicyStatus(
            br_version=BR_VERSION,
            br_section=BR_SECTION,
            date=day.isoformat(),
            today=row_at(day),
            today_shortfalls=tuple(shortfalls(fleet, day)),
            next=coming,
            next_shortfalls=() if coming is None else tuple(shortfalls(fleet, date.fromisoformat(coming.since))),
        )

    def _perspective(self, site: Site) -> PerspectiveStatus:
        perspectives, configured = self._coordinator.perspectives, self._configured.get(site.code)
        local = configured is not None or self._settings.primary.kind == "local"
        reason = self._down(site.code) if local else None
        healthy = reason is None
        drained = self._drains.of(site.code)
        if drained is not None:
            reason = f"drained by {drained.login or f'user {drained.uid}'} since {drained.since}"
        tunnel = perspectives.tunnel(site.code)
        shaken = tunnel is not None and tunnel.latest_handshake_s > 0
        return PerspectiveStatus(
            code=site.code,
            primary=configured is None,
            place=site.place,
            rir=site.rir,
            provider="" if configured is None else configured.provider,
            nearest=_nearest(self._coordinator.configured, site),
            ready=reason is None,
            reason=reason or "",
            expected_egress_addresses=self._egress_addresses(configured),
            handshake_age_s=max(0, int(time.time()) - tunnel.latest_handshake_s)
            if tunnel is not None and shaken
            else None,
            tunnel=tunnel,
            worker=perspectives.worker(site.code),
            last_check=perspectives.last.get(site.code),
            healthy=healthy,
            drained=drained,
            in_flight=self._coordinator.in_flight(site.code),
        )

    def _egress_addresses(self, configured: PerspectiveConfig | RemotePerspectiveConfig | None) -> tuple[str, ...]:
        if configured is not None:
            return tuple(str(address) for address in configured.egress_addresses)
        return tuple(str(interface.ip) for interface in self._settings.primary.addresses)

    def _site(self, site: Site) -> SiteStatus:
        configured = self._configured.get(site.code)
        return SiteStatus(
            code=site.code,
            primary=configured is None,
            place=site.place,
            rir=site.rir,
            provider="" if configured is None else configured.provider,
            upstreams=() if configured is None else configured.upstreams,
            origin_asn=None if configured is None else configured.origin_asn,
            nearest=_nearest(self._coordinator.configured, site),
        )

    def _shared(self) -> Iterator[SharedBy]:
        configured = tuple(self._configured.values())
        kinds = (
            ("provider", {one.code: [one.provider] for one in configured}),
            ("upstream", {one.code: [f"AS{asn}" for asn in one.upstreams] for one in configured}),
            ("country", {one.code: [one.place.country] for one in configured}),
        )
        for kind, values in kinds:
            for share in shares(kind, values):
                yield SharedBy(share.kind, share.value, share.codes, share.breaks, share.makes, _warning(share))


def _nearest(fleet: Fleet, site: Site) -> Neighbour:
    return Neighbour(*fleet.nearest(site.code))


def _warning(share: Share) -> str:
    if share.makes:
        return f"{share.kind} {share.value} alone could make a quorum"
    if share.breaks:
        return f"{share.kind} {share.value} alone could break a quorum"
    return ""
