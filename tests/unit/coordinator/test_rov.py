"""Measuring over scripted perspectives: witnesses, dead beacons, what is in force, what is kept, what a policy makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.config import RovConfig
from appliance.coordinator.proofs import Standing
from appliance.coordinator.rov.gate import RovGate
from appliance.coordinator.rov.measurement import Measurement, Site
from appliance.coordinator.rov.schedule import pause_s
from appliance.coordinator.rov.standings import Standings
from appliance.coordinator.rov.vrps import VrpWatch
from appliance.errors import EvidenceUnavailable
from appliance.evidence.record import Actor, EventRecord, EventType, Receipt, utc_text
from appliance.model.rov import Probe, ProbeOutcome, RoundRequest, RoundSeen, RovVerdict
from appliance.rpki.beacons import Beacon

CODES = ("ams", "nyc", "gru")
ADDRESS = "192.0.2.9"
PREFIXES = {"alpha": ("203.0.113.0/26", "203.0.113.64/26"), "beta": ("203.0.113.128/26", "203.0.113.192/26")}
HOSTS = {"alpha": ("203.0.113.1", "203.0.113.65"), "beta": ("203.0.113.129", "203.0.113.193")}
BEACONS = tuple(
    Beacon.model_validate(
        {
            "name": name,
            "operator": name,
            "kind": "pair",
            "versions": [4],
            "valid": {"url": f"https://{name}-v.example/", "origin_asn": 64500, "prefixes": [valid]},
            "invalid": {"url": f"https://{name}-i.example/", "origin_asn": 64500, "prefixes": [invalid]},
        }
    )
    for name, (valid, invalid) in PREFIXES.items()
)

Answer = Callable[[str, str], ProbeOutcome]


def filtering(*codes: str) -> Answer:
    """Everyone but `codes` reaches the invalid prefixes."""
    return lambda code, _beacon: ProbeOutcome.BLOCKED if code in codes else ProbeOutcome.REACHED


@dataclass
class Network:
    """Perspectives that see what `answer` says of an invalid prefix; `down` ones cannot be asked."""

    answer: Answer
    valid: ProbeOutcome = ProbeOutcome.REACHED
    down_codes: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    source: str | None = ADDRESS

    def refresh(self) -> None:
        """Nothing to read."""

    def down(self, code: str) -> str | None:
        return "tunnel down" if code in self.down_codes else None

    def ask_round(self, request: RoundRequest) -> asyncio.Future[RoundSeen]:
        name = request.invalid.url.removeprefix("https://").partition("-")[0]
        self.asked.append(request.perspective)
        valid, invalid = HOSTS[name]
        control = Probe(self.valid, valid, 1)
        outcome = self.answer(request.perspective, name)
        source = self.source if outcome is ProbeOutcome.REACHED else None
        probe = Probe(outcome, invalid, 1, source=source)
        future: asyncio.Future[RoundSeen] = asyncio.get_running_loop().create_future()
        future.set_result(
            RoundSeen(request.request_id, request.perspective, 4, "", probe, before=control, after=control)
        )
        return future


class Bench:
    """A measurement with ten rounds to a window, its events, and a clock that moves a second with each look."""

    def __init__(self, directory: Path, answer: Answer) -> None:
        self.network = Network(answer)
        self.events: list[EventRecord] = []
        self.recording = True
        self.time = datetime.now(UTC)
        self.vrps = directory / "vrps.json"
        self.directory = directory
        self.write_vrps()
        self.measurement = self.start()

    def start(self) -> Measurement:
        config = RovConfig(vrp_file=self.vrps, window_rounds=10, dead_retry_s=1000)
        standings = Standings(
            self.directory / "rov.json",
            dict.fromkeys(CODES, frozenset({ADDRESS})),
            frozenset(one.name for one in BEACONS),
            utc_text(self.now()),
        )
        return Measurement(
            config,
            BEACONS,
            {code: Site(code, frozenset({ADDRESS})) for code in CODES},
            self.network,
            standings,
            VrpWatch(self.vrps, 3600),
            record=self.record,
            actor=Actor(0, "root"),
            now=self.now,
        )

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    async def record(self, event: EventRecord) -> Receipt:
        if not self.recording:
            raise EvidenceUnavailable("disk full")
        self.events.append(event)
        return Receipt(len(self.events), "ab" * 32)

    def write_vrps(self, invalid_asn: int = 0, age: timedelta = timedelta()) -> None:
        roas = [
            {"asn": asn, "prefix": prefix, "maxLength": 26}
            for pair in PREFIXES.values()
            for prefix, asn in zip(pair, (64500, invalid_asn), strict=True)
        ]
        made = (datetime.now(UTC) - age).isoformat()
        self.vrps.write_text(json.dumps({"metadata": {"buildtime": made}, "roas": roas}))

    async def measure(self, code: str, rounds: int = 10) -> str:
        for _ in range(rounds):
            await self.measurement.measure(code)
        found = self.measurement.in_force(code)
        assert found is not None
        return found.verdict


async def test_filtering_takes_a_witness_and_an_event_records_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams"))
    assert await bench.measure("ams", 9) == "INCONCLUSIVE"
    assert await bench.measure("ams", 1) == "FILTERING"
    event = bench.events[-1]
    assert (event.type, event.subject) == (EventType.VERDICT_CHANGE, "ams")
    found = bench.measurement.in_force("ams")
    assert found is not None
    assert (found.seq, found.hash) == (len(bench.events), "ab" * 32)
    # Whoever witnessed was measured by it.
    assert bench.measurement.in_force("nyc") is not None
    assert bench.network.asked.count("nyc") >= 10


async def test_a_beacon_is_seen_to_work_by_who_reaches_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams", "nyc"))
    standings = bench.measurement.standings
    assert standings.newest_of("alpha", 4) is None
    await bench.measure("ams", 1)
    seen = standings.newest_of("alpha", 4)
    assert seen is not None
    assert (seen.version, seen.perspective) == (4, "gru")
    bench.network.answer = filtering(*CODES)
    await bench.measure("ams", 2)
    assert standings.newest_of("alpha", 4) == seen
    bench.network.answer = filtering("ams", "gru")
    await bench.measure("nyc", 1)
    newer = standings.newest_of("alpha", 4)
    assert newer is not None
    assert newer.perspective == "nyc"
    assert newer.at > seen.at
    assert standings.newest_of("alpha", 6) is None


async def test_a_beacon_that_nobody_reaches_is_dead_and_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda _code, beacon: ProbeOutcome.BLOCKED if beacon == "alpha" else ProbeOutcome.REACHED)
    for code in CODES:
        assert await bench.measure(code) == "INCONCLUSIVE"
    assert bench.measurement.dead("alpha", 4)
    assert not bench.measurement.dead("beta", 4)
    # Asked of everyone once to find out, and not again for each round.
    assert len(bench.network.asked) == 2 * 10 * len(CODES) + len(CODES) - 1


async def test_a_fleet_that_filters_as_one_proves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering(*CODES))
    assert await bench.measure("ams") == "INCONCLUSIVE"


@pytest.mark.parametrize("outcome", [ProbeOutcome.AMBIGUOUS, ProbeOutcome.UNRESOLVED])
async def test_what_is_not_an_answer_of_the_beacon_is_inconclusive(tmp_path: Path, outcome: ProbeOutcome) -> None:
    bench = Bench(tmp_path, lambda code, _: outcome if code == "ams" else ProbeOutcome.REACHED)
    assert await bench.measure("ams") == "INCONCLUSIVE"


async def test_silence_of_the_valid_prefix_or_of_the_worker_is_inconclusive(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams"))
    bench.network.valid = ProbeOutcome.BLOCKED
    assert await bench.measure("ams") == "INCONCLUSIVE"
    bench.network.valid = ProbeOutcome.REACHED
    bench.network.down_codes = {"ams"}
    assert await bench.measure("ams") == "INCONCLUSIVE"


async def test_another_source_address_is_inconclusive(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering())
    bench.network.source = "198.51.100.1"
    assert await bench.measure("ams") == "INCONCLUSIVE"


async def test_stale_vrps_and_a_flipped_roa_lower_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams"))
    assert await bench.measure("ams") == "FILTERING"
    bench.write_vrps(invalid_asn=64500)
    assert await bench.measure("ams", 1) == "INCONCLUSIVE"
    bench.write_vrps()
    assert await bench.measure("ams", 9) == "INCONCLUSIVE"
    assert await bench.measure("ams", 1) == "FILTERING"
    bench.write_vrps(age=timedelta(hours=2))
    assert await bench.measure("ams", 1) == "INCONCLUSIVE"


async def test_one_round_that_reached_lowers_at_once_also_without_evidence(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams"))
    assert await bench.measure("ams") == "FILTERING"
    bench.recording = False
    bench.network.answer = filtering()
    assert await bench.measure("ams", 1) == "PARTIAL"
    found = bench.measurement.in_force("ams")
    assert found is not None
    assert found.seq is None


async def test_what_is_in_force_survives_a_restart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams"))
    await bench.measure("ams")
    before = bench.measurement.in_force("ams")
    assert bench.start().in_force("ams") == before
    (tmp_path / "rov.json").write_text("{")
    found = bench.start().in_force("ams")
    assert found is not None
    assert found.verdict == "INCONCLUSIVE"


async def test_a_verdict_falls_with_the_last_round_that_it_rests_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams"))
    assert await bench.measure("ams") == "FILTERING"
    bench.time += timedelta(days=1)
    again = bench.start()
    await again.expire()
    assert again.in_force("ams") == bench.measurement.in_force("ams"), "its rounds still count"
    bench.time += timedelta(days=2)
    before = len(bench.events)
    await again.expire()
    found = again.in_force("ams")
    assert found is not None
    assert (found.verdict, found.seq) == ("INCONCLUSIVE", before + 1)
    fallen = [(one.type, one.subject) for one in bench.events[before:]]
    assert fallen == [(EventType.VERDICT_CHANGE, "ams"), (EventType.VERDICT_CHANGE, "nyc")], "the witness's falls, too"
    await again.expire()
    assert len(bench.events) == before + 2, "once"


async def test_a_verdict_is_of_the_addresses_that_it_was_measured_from(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams"))
    await bench.measure("ams")
    elsewhere = Standings(
        tmp_path / "rov.json", {"ams": frozenset({"203.0.113.99"})}, frozenset({"alpha", "beta"}), utc_text(bench.now())
    )
    assert elsewhere.of("ams")[4].in_force.verdict is RovVerdict.INCONCLUSIVE
    assert elsewhere.of("ams")[4].rounds == []


async def test_require_withholds_from_remotes_that_do_not_filter(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering("ams"))
    for code in ("ams", "nyc"):
        await bench.measure(code)
    require = RovGate(bench.measurement, "require", primary="gru")
    stands = require.over({"ams": Standing("its place is not proven"), "new": Standing()})
    assert stands["ams"].withheld == "its place is not proven"
    assert require.over({})["ams"].withheld is None
    assert "NOT_FILTERING" in (stands["nyc"].withheld or "")
    assert stands["new"].withheld is not None
    assert stands["gru"].withheld is None
    assert stands["nyc"].rov == bench.measurement.in_force("nyc")
    warn = RovGate(bench.measurement, "warn", primary="gru")
    assert warn.over({})["nyc"].withheld is None
    assert warn.warnings(["ams", "nyc"]) == ["nyc: RPKI-invalid routes reach its path (NOT_FILTERING)"]
    assert RovGate(bench.measurement, "record", primary="gru").warnings(["nyc"]) == []
    assert bench.measurement.standings.by_key["nyc", 4].in_force.verdict is RovVerdict.NOT_FILTERING


async def test_enrolment_is_quick_and_the_rest_of_the_day_is_jittered(tmp_path: Path) -> None:
    bench = Bench(tmp_path, filtering())
    assert pause_s(bench.measurement, "ams") == 5.0
    await bench.measure("ams")
    pauses = {pause_s(bench.measurement, "ams") for _ in range(50)}
    assert len(pauses) > 40
    assert 1200 <= min(pauses) <= max(pauses) <= 3600
