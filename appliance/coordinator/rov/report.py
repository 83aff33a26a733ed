"""`GET /rov`: every verdict, what it rests on, and the state of what it was measured with."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from appliance import __version__
from appliance.config import PerspectiveConfig, Settings
from appliance.coordinator.rov.measurement import Measurement
from appliance.evidence.record import utc_text
from appliance.model.rov import (
    BeaconStatus,
    OwnRoute,
    RovReport,
    RovStanding,
    RpkiState,
)
from appliance.policy.rov import worst
from appliance.rpki.vrps import Vrps


class RovView:
    """Answers the operators' questions about `measurement`."""

    def __init__(self, settings: Settings, measurement: Measurement) -> None:
        self._settings = settings
        self._measurement = measurement
        self._configured = {one.code: one for one in settings.perspectives}

    async def report(self) -> RovReport:
        """All of it, with the VRPs as they are now."""
        measurement, now = self._measurement, self._measurement.now()
        await measurement.vrps.refresh()
        vrps = measurement.vrps.fresh(now)
        return RovReport(
            time=utc_text(now),
            version=__version__,
            policy=self._settings.rov.policy,
            full_window=self._settings.rov.window_rounds,
            vrps=measurement.vrps.status(now),
            beacons=tuple(
                BeaconStatus(
                    name=one.name,
                    operator=one.operator,
                    kind=one.kind,
                    versions=one.versions,
                    source=one.source,
                    last_verified=one.last_verified,
                    dead=tuple(version for version in one.versions if measurement.dead(one.name, version)),
                    seen=tuple(
                        seen
                        for version in one.versions
                        if (seen := measurement.standings.newest_of(one.name, version)) is not None
                    ),
                )
                for one in measurement.beacons
            ),
            perspectives=tuple(self._standing(code, vrps) for code in measurement.sites),
        )

    def _standing(self, code: str, vrps: Vrps | None) -> RovStanding:
        standings, rules = self._measurement.standings.of(code), self._measurement.rules
        families = tuple(one.told(version, rules) for version, one in sorted(standings.items()))
        verdict = worst([one.in_force.verdict for one in families])
        configured = self._configured.get(code)
        return RovStanding(
            perspective=code,
            primary=configured is None,
            provider="" if configured is None else configured.provider,
            verdict=verdict,
            strong=bool(families) and all(one.grade.strong for one in families),
            families=families,
            own_routes=() if configured is None or vrps is None else _own_routes(configured, vrps),
        )


def _own_routes(configured: PerspectiveConfig, vrps: Vrps) -> tuple[OwnRoute, ...]:
    """RFC 6811 states of the routes to the egress's own addresses: a hijack of those captures its replies."""
    routes = []
    for address in configured.egress_addresses:
        listed = [one for one in configured.announced_prefixes if one.version == address.version and address in one]
        found = max(listed, key=lambda one: one.prefixlen, default=None) or vrps.most_specific(ip_address(address))
        state = RpkiState.NOT_FOUND if found is None else vrps.state(ip_network(found), configured.origin_asn)
        text = None if found is None else str(found)
        routes.append(OwnRoute(str(address), text, configured.origin_asn, state))
    return tuple(routes)
