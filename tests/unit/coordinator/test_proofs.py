"""The coordinator holds proofs against perspectives, says why, and keeps each change as evidence."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.config import RoutingConfig, Settings
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.proofs import Proofs
from appliance.coordinator.routing_data import RoutingData
from appliance.evidence.actor import actor_of
from appliance.evidence.record import EventRecord, EventType
from appliance.model.health import WorkerStatus
from appliance.model.place import Rir
from appliance.model.proof import Measured, ProofKind, Result, RoundTrip
from appliance.model.tunnel import Backend, TunnelState, TunnelStatus
from tests.unit.coordinator.configuration import document
from tests.unit.coordinator.workers import FLEET, NOW, Memory, eventually

AT = "2026-11-21T12:00:00Z"
PLACE = {"city": "Frankfurt", "country": "DE", "latitude": 50.11, "longitude": 8.68}


class Said(Perspectives):
    """What workers and tunnels say, as set."""

    def __init__(self) -> None:
        self.workers: dict[str, WorkerStatus] = {}
        self.tunnels: dict[str, TunnelStatus] = {}

    def refresh(self) -> None:
        pass

    def worker(self, code: str) -> WorkerStatus | None:
        return self.workers.get(code)

    def tunnel(self, code: str) -> TunnelStatus | None:
        return self.tunnels.get(code)


def key(number: int) -> str:
    return f"{'A' * 41}{chr(66 + number)}A="


def configured(directory: Path, anchors: int = 3) -> Settings:
    told: dict[str, Any] = document(directory)
    told["anchors"] = [{"url": "https://anchor.example/"}]
    told["place_anchors"] = [
        {"name": f"a{n}", "place": PLACE, "address": f"192.0.2.{n + 1}", "public_key": key(n)} for n in range(anchors)
    ]
    return Settings.model_validate(told)


def honest(code: str, **changes: Any) -> WorkerStatus:
    """Near enough in time to Frankfurt for every place on Earth."""
    trips = tuple(RoundTrip(f"a{n}", 900_000, 15) for n in range(3))
    number = next((index for index, site in enumerate(FLEET.remotes) if site.code == code), -1)
    own = "192.0.2.10" if number < 0 else f"198.51.100.{number + 1}"
    status = WorkerStatus(
        code, True, (), (own,), AT, 1000, 7, measured=Measured(AT, 5, 0, trips), authenticated_addresses=(own,)
    )
    return msgspec.structs.replace(status, **changes)


def tunnel(code: str, inode: int = 7, state: TunnelState = TunnelState.UP) -> TunnelStatus:
    return TunnelStatus(code, f"mpic-{code}", inode, f"wg-{code}", Backend.KERNEL, state, "", None, 1, 1, 1)


class Stage:
    def __init__(self, directory: Path, anchors: int = 3) -> None:
        self.said = Said()
        self.memory = Memory()
        self.now = NOW
        codes = [FLEET.primary.code, *(site.code for site in FLEET.remotes)]
        self.said.workers = {code: honest(code) for code in codes}
        self.said.tunnels = {code: tunnel(code) for code in codes}
        self.proofs = Proofs(
            configured(directory, anchors), FLEET, self.said, self.memory.submit, actor_of(), lambda: self.now
        )

    def results(self, code: str) -> dict[ProofKind, Result]:
        self.proofs.refresh()
        known = self.proofs.of(code)
        assert known is not None
        return {proof.kind: proof.result for proof in known.proofs}

    def events(self, kind: EventType) -> list[EventRecord]:
        return [one for one in self.memory.records if isinstance(one, EventRecord) and one.type is kind]


async def test_all_honest(tmp_path: Path) -> None:
    on = Stage(tmp_path)
    assert on.results("ams") == {
        ProofKind.EXIT_ADDRESS: Result.VALID,
        ProofKind.ORIGIN: Result.NOT_CONFIGURED,
        ProofKind.PLACE: Result.VALID,
        ProofKind.CONFINEMENT: Result.VALID,
        ProofKind.PATH: Result.VALID,
        ProofKind.ATTESTATION: Result.NOT_CONFIGURED,
    }
    assert on.proofs.standings()["ams"].withheld is None
    assert len(on.events(EventType.PROOF)) == 7
    await _receipts()
    in_force = on.proofs.standings()["ams"].in_force
    assert in_force is not None
    record = on.memory.records[(in_force.seq or 0) - 1]
    assert isinstance(record, EventRecord)
    assert record.subject == "ams"
    on.said.workers["ams"] = honest("ams", path_rtt_us=2000)
    assert on.proofs.standings()["ams"].in_force == in_force, "the same proofs are no news"
    assert len(on.memory.records) == 7


async def test_each_failure_is_named_recorded_and_ends(tmp_path: Path) -> None:
    on = Stage(tmp_path)
    near = Measured(AT, 5, 0, tuple(RoundTrip(f"a{n}", 2_000, 15) for n in range(3)))
    cases: list[tuple[ProofKind, WorkerStatus, TunnelStatus]] = [
        (ProofKind.EXIT_ADDRESS, honest("nyc", egress_addresses=("203.0.113.9",)), tunnel("nyc")),
        (ProofKind.PLACE, honest("nyc", measured=near), tunnel("nyc")),
        (ProofKind.CONFINEMENT, honest("nyc"), tunnel("nyc", inode=8)),
        (ProofKind.CONFINEMENT, honest("nyc", confined=False, reasons=("interface eth0",)), tunnel("nyc")),
        (ProofKind.PATH, honest("nyc", path_up=False), tunnel("nyc")),
        (ProofKind.PATH, honest("nyc"), tunnel("nyc", state=TunnelState.DOWN)),
    ]
    on.proofs.refresh()
    for kind, worker, its_tunnel in cases:
        before = len(on.events(EventType.PROOF_FAILURE))
        on.said.workers["nyc"], on.said.tunnels["nyc"] = worker, its_tunnel
        withheld = on.proofs.standings()["nyc"].withheld
        assert withheld is not None
        assert withheld.startswith(f"hand-off proof {kind} failed: ")
        failures = on.events(EventType.PROOF_FAILURE)
        assert len(failures) == before + 1
        assert failures[-1].subject == "nyc"
        assert failures[-1].message == withheld
        assert on.proofs.standings()["ams"].withheld is None
        on.said.workers["nyc"], on.said.tunnels["nyc"] = honest("nyc"), tunnel("nyc")
        assert on.proofs.standings()["nyc"].withheld is None


async def test_one_anchor_proves_no_place_but_contradicts_one(tmp_path: Path) -> None:
    on = Stage(tmp_path, anchors=1)
    assert on.results("nyc")[ProofKind.PLACE] is Result.NOT_CONFIGURED
    assert on.proofs.standings()["nyc"].withheld is None
    near = Measured(AT, 5, 0, (RoundTrip("a0", 2_000, 15),))
    on.said.workers["nyc"] = honest("nyc", measured=near)
    assert on.results("nyc")[ProofKind.PLACE] is Result.FAILED
    assert "place" in (on.proofs.standings()["nyc"].withheld or "")
    for silence in (None, Measured(AT, 5, 0, ())):
        on.said.workers["nyc"] = honest("nyc", measured=silence)
        assert on.results("nyc")[ProofKind.PLACE] is Result.FAILED, "nobody is let off by silence"
    on.said.workers["nyc"] = honest("nyc", measured=Measured(AT, 5, 0, (RoundTrip("a0", 900_000, 15),)))
    assert on.results("nyc")[ProofKind.PLACE] is Result.NOT_CONFIGURED


async def test_what_was_never_proven_does_not_corroborate(tmp_path: Path) -> None:
    on = Stage(tmp_path)
    on.said.workers["ams"] = honest("ams", measured=None)
    del on.said.workers["nyc"]
    assert on.results("ams")[ProofKind.PLACE] is Result.MISSING
    assert on.proofs.standings()["ams"].withheld is not None
    assert on.proofs.standings()["nyc"].withheld is not None
    assert len(on.memory.records) == 5, "what is not there yet is no news"


async def test_silent_anchors_are_believed_for_a_while_on_an_unbroken_path(tmp_path: Path) -> None:
    on = Stage(tmp_path)
    on.proofs.refresh()
    later = (NOW + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    on.now = NOW + timedelta(minutes=30)
    on.said.workers["ams"] = honest("ams", measured=Measured(later, 5, 0, ()))
    assert on.results("ams")[ProofKind.PLACE] is Result.VALID
    on.said.workers["ams"] = honest("ams", measured=None)
    assert on.results("ams")[ProofKind.PLACE] is Result.MISSING, "the path was broken"
    on.said.workers["ams"] = honest("ams", measured=Measured(later, 5, 0, ()))
    assert on.results("ams")[ProofKind.PLACE] is Result.MISSING, "and nothing is known of the new one"


async def test_what_was_measured_long_ago_does_not_count(tmp_path: Path) -> None:
    on = Stage(tmp_path)
    on.now = NOW + timedelta(hours=2)
    assert on.results("ams")[ProofKind.PLACE] is Result.MISSING


@pytest.mark.parametrize(
    ("ahead", "result"), [(timedelta(days=365), Result.MISSING), (timedelta(seconds=4), Result.VALID)]
)
async def test_what_was_measured_in_the_future_does_not_count(tmp_path: Path, ahead: timedelta, result: Result) -> None:
    """By a clock that was wrong. Clocks are set right by seconds all the time."""
    on = Stage(tmp_path)
    on.now = NOW - ahead
    assert on.results("ams")[ProofKind.PLACE] is result


async def test_sightings_that_can_be_forged_prove_no_exit(tmp_path: Path) -> None:
    on = Stage(tmp_path)
    on.said.workers["ams"] = honest("ams", authenticated_addresses=())
    assert on.results("ams")[ProofKind.EXIT_ADDRESS] is Result.MISSING
    withheld = on.proofs.standings()["ams"].withheld or ""
    assert "no anchor whose certificate verifies has seen its address over IPv4" in withheld


async def test_http_anchors_prove_nothing_and_contradict(tmp_path: Path) -> None:
    settings = Settings.model_validate(document(tmp_path) | {"anchors": [{"url": "http://anchor.example/"}]})
    on = Stage(tmp_path)
    on.proofs = Proofs(settings, FLEET, on.said, on.memory.submit, actor_of(), lambda: on.now)
    assert on.results("ams")[ProofKind.EXIT_ADDRESS] is Result.NOT_CONFIGURED
    assert on.proofs.standings()["ams"].withheld is None
    on.said.workers["ams"] = honest("ams", egress_addresses=("203.0.113.9",))
    assert on.results("ams")[ProofKind.EXIT_ADDRESS] is Result.FAILED
    assert on.proofs.standings()["ams"].withheld is not None


async def test_an_attestation_counts_for_398_days(tmp_path: Path) -> None:
    told = document(tmp_path)
    told["perspectives"][0]["attested_on"] = "2026-11-20"
    on = Stage(tmp_path)
    settings = Settings.model_validate(told)
    on.proofs = Proofs(settings, FLEET, on.said, on.memory.submit, actor_of(), lambda: on.now)
    code = told["perspectives"][0]["code"]
    assert on.results(code)[ProofKind.ATTESTATION] is Result.VALID
    running = asyncio.create_task(on.proofs.run())
    on.now = datetime(2027, 12, 24, tzinfo=UTC)
    await eventually(lambda: on.results(code)[ProofKind.ATTESTATION] is Result.EXPIRED, "the attestation is too old")
    running.cancel()


def test_routing_data_has_an_age(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    data = RoutingData(RoutingConfig(files=(path,), max_age_s=3600), ("198.51.100.1",))
    assert "cannot be read" in (data.read(NOW).problem or "")
    path.write_text("64510\t198.51.100.0/24\t300\n")
    stamp = NOW.timestamp()
    os.utime(path, (stamp, stamp))
    fresh = data.read(NOW)
    assert (fresh.problem, fresh.at) == (None, "2026-11-21T12:00:00Z")
    assert list(fresh.routes) == ["198.51.100.0/24"]
    assert "2 h old" in (data.read(NOW + timedelta(hours=2)).problem or "")
    path.write_text("64511\t198.51.100.0/24\t300\n")
    os.utime(path, (time.time(), time.time() + 1))
    assert data.read(NOW).routes["198.51.100.0/24"][0].asn == 64511


REGISTERED = "nro|*|ipv4|*|1|summary\narin|US|ipv4|198.51.100.0|256|20100101|allocated|abc|e-stats\n"


def test_the_registries_statistics_are_read_apart(tmp_path: Path) -> None:
    routes, registries = tmp_path / "dump", tmp_path / "delegated"
    routes.write_text("64510\t198.51.100.0/24\t300\n")
    os.utime(routes, (NOW.timestamp(), NOW.timestamp()))
    config = RoutingConfig(files=(routes,), registry_files=(registries,), max_age_s=3600)
    data = RoutingData(config, ("198.51.100.1",))
    lacking = data.read(NOW)
    assert (lacking.problem, dict(lacking.registries)) == (None, {})
    assert "cannot be read" in (lacking.registries_problem or "")
    registries.write_text(REGISTERED)
    os.utime(registries, (NOW.timestamp(), NOW.timestamp()))
    assert data.read(NOW).registries == {"198.51.100.1": Rir.ARIN}
    os.utime(registries, (NOW.timestamp() - 7200, NOW.timestamp() - 7200))
    old = data.read(NOW)
    assert (old.problem, dict(old.registries)) == (None, {})
    assert old.registries_problem == "the registries' statistics are older than 1 h"


async def _receipts() -> None:
    """Lets the callbacks of what was submitted run."""
    await asyncio.sleep(0)


async def test_what_was_proven_grows_old_though_nobody_says_anything_new(tmp_path: Path) -> None:
    on = Stage(tmp_path)
    assert on.results("ams")[ProofKind.PLACE] is Result.VALID
    on.now = NOW + timedelta(days=1)
    assert on.results("ams")[ProofKind.PLACE] is Result.VALID
    running = asyncio.create_task(on.proofs.run())
    await eventually(lambda: on.results("ams")[ProofKind.PLACE] is Result.MISSING, "the place is proven no more")
    running.cancel()
    assert "place" in (on.proofs.standings()["ams"].withheld or "")
