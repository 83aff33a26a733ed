"""Workers that answer by script, on real Unix sockets, and a coordinator over them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from os import getuid
from pathlib import Path

from appliance.config import ClockConfig, TimeLimits
from appliance.coordinator.coordinator import Coordinator
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.proofs import Standing
from appliance.coordinator.records import InForce, perspective_set_event
from appliance.coordinator.timekeeping import Clock
from appliance.coordinator.tunnels import TunnelWatch
from appliance.evidence.actor import actor_of
from appliance.evidence.record import EvidenceRecord, PerspectiveSetRef, Receipt, Software, utc_text
from appliance.ipc import Connection, Server, WorkerChannel, serve
from appliance.ipc.messages import Ask, Cancel, Seen, Status, ToWorker
from appliance.linux.clock import ClockState
from appliance.model.check import CheckRequest, method_of
from appliance.model.egress import EgressStatus
from appliance.model.health import WorkerStatus
from appliance.model.observation import CheckError, Observation, Outcome
from appliance.model.place import Place, Rir, Site
from appliance.policy.fleet import Fleet, fleet_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BUILT = date(2026, 11, 1)
PRIMARY = Site("home", Place("Vienna", "AT", 48_208_000, 16_373_000), Rir.RIPE_NCC)
REMOTES = (
    Site("ams", Place("Amsterdam", "NL", 52_370_000, 4_895_000), Rir.RIPE_NCC),
    Site("nyc", Place("New York", "US", 40_713_000, -74_006_000), Rir.ARIN),
    Site("tyo", Place("Tokyo", "JP", 35_690_000, 139_692_000), Rir.APNIC),
    Site("gru", Place("São Paulo", "BR", -23_550_000, -46_633_000), Rir.LACNIC),
    Site("jnb", Place("Johannesburg", "ZA", -26_204_000, 28_047_000), Rir.AFRINIC),
    Site("syd", Place("Sydney", "AU", -33_869_000, 151_209_000), Rir.APNIC),
)
FLEET = fleet_of(PRIMARY, REMOTES)
CODES = tuple(site.code for site in REMOTES)
QUICK = TimeLimits(check_s=2.0, answer_s=2.0, straggler_s=0.05)


def seen(request: CheckRequest, outcome: Outcome = Outcome.MATCH) -> Observation:
    """What a worker says that saw `outcome`."""
    return Observation(
        request_id=request.request_id,
        perspective=request.perspective,
        method=method_of(request.check),
        outcome=outcome,
        corroborates=outcome is Outcome.MATCH,
        started_at=utc_text(NOW),
        elapsed_us=1000,
        errors=() if outcome is Outcome.MATCH else (CheckError("test.other", "something else was seen", "compare"),),
        egress_addresses=("198.51.100.7",),
    )


Script = Callable[["FakeWorker", Connection, CheckRequest], None]


def match(_worker: FakeWorker, connection: Connection, request: CheckRequest) -> None:
    """Sees what is expected."""
    connection.send(Seen(seen(request)))


def mismatch(_worker: FakeWorker, connection: Connection, request: CheckRequest) -> None:
    """Sees something else."""
    connection.send(Seen(seen(request, Outcome.MISMATCH)))


def silent(_worker: FakeWorker, _connection: Connection, _request: CheckRequest) -> None:
    """Never answers, unless it is cancelled and `answers_cancel`."""


def impostor(_worker: FakeWorker, connection: Connection, request: CheckRequest) -> None:
    """Answers in the name of another perspective."""
    other = CheckRequest(request.request_id, "nyc", request.identifier, request.check, request.deadline_ms)
    connection.send(Seen(seen(other)))


def die(worker: FakeWorker, _connection: Connection, _request: CheckRequest) -> None:
    """Goes away with the check in flight."""
    worker.stop()


@dataclass
class FakeWorker:
    """One worker. `asked` is every request that reached it; `cancelled` the ids that nobody waited for any more."""

    code: str
    path: Path
    script: Script = match
    answers_cancel: bool = True
    ready: bool = True
    netns_inode: int = 7
    path_rtt_us: int = 1000
    root_anchor_problem: str | None = None
    asked: list[CheckRequest] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    egress: EgressStatus | None = None
    server: Server | None = None

    async def start(self) -> None:
        """Listens."""
        self.server = await serve(self.path, [getuid()], self._on_message, on_connect=self._on_connect)

    def stop(self) -> None:
        """Drops every connection and stops listening."""
        assert self.server is not None
        self.server.close()

    def say(self) -> None:
        """Tells its status again."""
        assert self.server is not None
        self.server.broadcast(Status(self.status))

    @property
    def status(self) -> WorkerStatus:
        """What it says of itself."""
        reasons = () if self.ready else ("the tunnel's default route is gone",)
        return WorkerStatus(
            self.code,
            self.ready,
            reasons,
            ("198.51.100.7",),
            None,
            self.path_rtt_us,
            self.netns_inode,
            root_anchor_problem=self.root_anchor_problem,
            egress=self.egress,
        )

    def _on_connect(self, connection: Connection) -> None:
        connection.send(Status(self.status))

    def _on_message(self, connection: Connection, message: ToWorker) -> None:
        if isinstance(message, Ask):
            self.asked.append(message.request)
            self.script(self, connection, message.request)
        elif isinstance(message, Cancel):
            self.cancelled.append(message.request_id)
            if self.answers_cancel:
                request = next(one for one in self.asked if one.request_id == message.request_id)
                connection.send(Seen(seen(request, Outcome.ERROR)))


class Memory:
    """Evidence in memory. `failing`: what `submit` then fails with."""

    def __init__(self) -> None:
        self.records: list[EvidenceRecord] = []
        self.failure: str | None = None
        self.failing: Exception | None = None
        self.silent = False
        self.newest: datetime | None = None

    def submit(self, record: EvidenceRecord) -> asyncio.Future[Receipt]:
        """Durable at once, unless told otherwise."""
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if self.failing is not None:
            future.set_exception(self.failing)
        elif not self.silent:
            self.records.append(record)
            future.set_result(Receipt(len(self.records), "00" * 32))
        return future

    def newest_record_time(self) -> datetime | None:
        """As set."""
        return self.newest


@dataclass
class Stage:
    """A coordinator, its workers by code, and its evidence."""

    coordinator: Coordinator
    workers: Mapping[str, FakeWorker]
    evidence: Memory
    tunnel_report: Path

    def script(self, script: Script, *codes: str) -> None:
        """Has the workers of `codes` follow `script`."""
        for code in codes:
            self.workers[code].script = script


@contextlib.asynccontextmanager
async def stage(
    directory: Path,
    *,
    limits: TimeLimits = QUICK,
    fleet: Fleet = FLEET,
    now: Callable[[], datetime] = lambda: NOW,
    standing: Callable[[], Mapping[str, Standing]] = dict,
    clock_rules: ClockConfig | None = None,
) -> AsyncIterator[Stage]:
    """Everything connected and ready."""
    sites = (fleet.primary, *fleet.remotes)
    workers = {site.code: FakeWorker(site.code, directory / f"{site.code}.sock") for site in sites}
    for worker in workers.values():
        await worker.start()
    channels = {code: WorkerChannel(worker.path, code, getuid()) for code, worker in workers.items()}
    report = directory / "tunnels.json"
    perspectives = Perspectives(channels, TunnelWatch(report))
    perspectives.start()
    evidence = Memory()
    receipt = await evidence.submit(perspective_set_event(fleet, actor_of(), time=utc_text(NOW)))
    coordinator = Coordinator(
        fleet,
        perspectives,
        evidence,
        in_force=InForce(actor_of(), Software("0", "00" * 32), PerspectiveSetRef(receipt.seq, receipt.hash)),
        limits=limits,
        clock=Clock(now, lambda: ClockState(True, 0, 0, 0), BUILT),
        secret=bytes(32),
        standing=standing,
        clock_rules=clock_rules,
    )
    try:
        await eventually(lambda: all(perspectives.down(code) is None for code in workers), "every worker is ready")
        yield Stage(coordinator, workers, evidence, report)
    finally:
        await perspectives.close()
        for worker in workers.values():
            worker.stop()


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Returns once `condition` holds; fails the test after 10 seconds."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + 10
    while not condition():
        assert loop.time() < end_s, f"not in time: {what}"
        await asyncio.sleep(0.005)
