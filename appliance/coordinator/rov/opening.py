"""The measurement that a configuration asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from appliance.config import Settings
from appliance.coordinator.rov.measurement import Asks, Measurement, Site
from appliance.coordinator.rov.standings import Standings
from appliance.coordinator.rov.vrps import VrpWatch
from appliance.evidence.record import Actor, EventRecord, Receipt, utc_text
from appliance.rpki.beacons import PUBLIC_BEACONS, read_beacons


def open_measurement(
    settings: Settings,
    perspectives: Asks,
    record: Callable[[EventRecord], Awaitable[Receipt]],
    actor: Actor,
    now: Callable[[], datetime],
) -> Measurement:
    """Of every perspective that has a worker, with what was in force before. Raises `ConfigError` for the file of beacons."""
    beacons = read_beacons(settings.rov.beacons_file or PUBLIC_BEACONS)
    sites = {
        one.code: Site(one.code, frozenset(str(address) for address in one.egress_addresses))
        for one in settings.perspectives
    }
    if settings.primary.kind == "local":
        own = frozenset(str(address.ip) for address in settings.primary.addresses)
        sites[settings.primary.code] = Site(settings.primary.code, own)
    standings = Standings(
        settings.coordinator_directory / "rov.json",
        {code: site.addresses for code, site in sites.items()},
        frozenset(beacon.name for beacon in beacons),
        utc_text(now()),
    )
    vrps = VrpWatch(settings.rov.vrp_file, settings.rov.vrp_max_age_s)
    return Measurement(settings.rov, beacons, sites, perspectives, standings, vrps, record=record, actor=actor, now=now)
