"""`mpicd`: the coordinator's process. No privileges, no Internet; two Unix sockets, one event loop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import hashlib
import logging
import os
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import uvloop
from systemd.daemon import notify

from appliance import __version__
from appliance.api.front import Front
from appliance.api.own_evidence import OwnEvidence
from appliance.api.routes import Api
from appliance.api.rov import Rov
from appliance.config import DEFAULT_PATH, Settings, load
from appliance.coordinator.alerts import watch
from appliance.coordinator.coordinator import Coordinator
from appliance.coordinator.day import BUILT, policy_day
from appliance.coordinator.drains import Drains, DrainStore
from appliance.coordinator.judgement import open_judgement
from appliance.coordinator.perspectives import Channel, Perspectives
from appliance.coordinator.records import InForce, life_event, perspective_set_event
from appliance.coordinator.remote import RemoteChannel
from appliance.coordinator.rov.report import RovView
from appliance.coordinator.selection import load_secret
from appliance.coordinator.status import StatusView
from appliance.coordinator.store import Store, open_store
from appliance.coordinator.timekeeping import Clock
from appliance.coordinator.tunnels import TunnelWatch
from appliance.daemons.perspectives_only import local_users, perspective_api, serve_perspectives, stop_by_signal
from appliance.errors import ApplianceError, ConfigError, ConfinementBroken
from appliance.evidence.actor import actor_of
from appliance.evidence.record import EventType, PerspectiveSetRef, Software, utc_text
from appliance.ipc import WorkerChannel
from appliance.linux.clock import ClockState, clock_state
from appliance.linux.users import NoSuchUser, find_user
from appliance.policy.fleet import Fleet, fleet_from, shortfalls

# sysexits.h
_EX_NOPERM = 77
_EX_CONFIG = 78

_WATCHDOG_S = 5.0

_log = logging.getLogger("mpicd")


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Exits with 78 where the configuration cannot be served, 77 with privileges, 1 on other failures."""
    parser = argparse.ArgumentParser(prog="mpicd", description="The coordinator of an mpic-appliance.")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--perspective-only",
        action="store_true",
        help="serve the configured perspectives, one by one, to others' appliances; no quorum is formed here",
    )
    options = parser.parse_args(arguments)
    path = options.config
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s: %(levelname)s: %(message)s")
    try:
        refuse_privileges(os.geteuid(), Path("/proc/self/status").read_text(encoding="ascii"))
        start_perspectives(path) if options.perspective_only else start(path)
    except (ConfigError, NoSuchUser) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(_EX_CONFIG)
    except ConfinementBroken as error:
        sys.stderr.write(f"mpicd: {error}\n")
        sys.exit(_EX_NOPERM)
    except ApplianceError as error:
        sys.stderr.write(f"mpicd: {error}\n")
        sys.exit(1)


def refuse_privileges(uid: int, process_status: str) -> None:
    """Raises `ConfinementBroken` for root, or any capability in `process_status`, the text of proc(5)'s `status`."""
    if uid == 0:
        raise ConfinementBroken("runs as root; start it as the configured user")
    for line in process_status.splitlines():
        name, _, value = line.partition(":")
        if name in {"CapPrm", "CapEff", "CapAmb"} and int(value, 16):
            raise ConfinementBroken(f"has capabilities ({name} {value.strip()}); it needs none")


def start(path: Path) -> None:
    """Checks what it is to serve, and serves until told to stop. Raises `ConfigError` with `file: key: rule` lines."""
    settings = load(path)
    fleet = compliant_fleet(path, settings, policy_day(_now(), None, BUILT))
    drains = DrainStore(settings.coordinator_directory / "drained.json")
    secret = load_secret(settings.coordinator_directory / "selection.key")
    software = Software(__version__, hashlib.sha256(path.read_bytes()).hexdigest())
    store = open_store(settings)
    _warn_of_newest_record(path, settings, policy_day(_now(), store.writer.newest_record_time(), BUILT))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, fleet, store, software, secret, drains))


def start_perspectives(path: Path) -> None:
    """As `start`, for perspectives that others' quorums use; the rules on the whole set are those others' to keep."""
    settings = load(path)
    software = Software(__version__, hashlib.sha256(path.read_bytes()).hexdigest())
    channels = _local_channels(settings)
    if not channels:
        raise ConfigError([f"{path}: perspectives: --perspective-only needs one at least, or a local primary"])
    fleet = _fleet(path, settings)
    store = open_store(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        clock = Clock(_now, _clock_state, BUILT)
        runner.run(serve_perspectives(settings, fleet, channels, store, software, clock, _until))


def compliant_fleet(path: Path, settings: Settings, day: date) -> Fleet:
    """The configured set. Raises `ConfigError` if a place is not in its country, or the set cannot comply with the row of `day`."""
    fleet = _fleet(path, settings)
    found = shortfalls(fleet, day)
    if found:
        raise ConfigError([f"{path}: {problem}" for problem in found])
    return fleet


def _fleet(path: Path, settings: Settings) -> Fleet:
    try:
        return fleet_from(settings)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from error


def _warn_of_newest_record(path: Path, settings: Settings, day: date) -> None:
    """A record from the future must not keep mpicd from starting, or nobody could run `mpicctl clock accept-date`. Each decision
    is judged by the table of `day` all the same, and refused if the set cannot comply."""
    try:
        compliant_fleet(path, settings, day)
    except ConfigError as error:
        for problem in error.problems:
            _log.error("%s", problem)
        _log.error("the newest record is of %s; if the clock was wrong then, run mpicctl clock accept-date", day)


async def serve(
    settings: Settings,
    configured: Fleet,
    store: Store,
    software: Software,
    secret: bytes,
    drained: DrainStore,
) -> None:
    """Answers on both sockets until SIGTERM or SIGINT, then finishes what it accepted."""
    stopping = stop_by_signal()
    actor, evidence = actor_of(), store.writer
    fleet = configured.without(drained.drained)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        receipt = await evidence.submit(perspective_set_event(fleet, actor, time=utc_text(_now())))
        await evidence.submit(life_event(EventType.START, actor, software, (), time=utc_text(_now())))
        last = settings.coordinator_directory / "configuration.sha256"
        if (before := changed_configuration(last, software.configuration_sha256)) is not None:
            facts = (("configuration_sha256_before", before),)
            await evidence.submit(life_event(EventType.CONFIGURATION, actor, software, facts, time=utc_text(_now())))
            last.write_text(software.configuration_sha256, encoding="ascii")
        perspectives = Perspectives(_channels(settings), TunnelWatch(settings.tunnel_report))
        perspectives.start()
        stack.push_async_callback(perspectives.close)
        judgement = await open_judgement(settings, configured, perspectives, evidence.submit, actor, _now)
        in_force = InForce(actor, software, PerspectiveSetRef(receipt.seq, receipt.hash))
        coordinator = Coordinator(
            fleet,
            perspectives,
            evidence,
            in_force=in_force,
            limits=settings.limits,
            clock=Clock(_now, _clock_state, BUILT),
            secret=secret,
            clock_rules=settings.clock,
            configured=configured,
            standing=judgement.standings,
            cautions=judgement.gate.warnings,
        )
        drains = Drains(coordinator, drained)
        view = StatusView(settings, coordinator, drains, software.configuration_sha256, judgement.proofs)
        api = Api(
            settings,
            coordinator,
            view,
            store,
            drains,
            Rov(judgement.measurement, RovView(settings, judgement.measurement)),
        )
        proving, alerting = judgement.start(stack), asyncio.create_task(watch(view.readiness))
        stack.callback(alerting.cancel)
        shared = dict(
            perspective_api(
                settings,
                perspectives,
                evidence,
                coordinator.time,
                api.metrics,
                coordinator.objection,
                coordinator.asking,
            ).routes()
        )
        front = Front(settings, evidence, _now, frozenset(local_users(settings)), api.metrics.refusals)
        stack.push_async_callback(front.close, settings.limits.answer_s)
        shared |= OwnEvidence(settings.database).routes()
        await front.open({**api.callers(), **shared}, {**api.operators(), **shared})
        # What lives from here to the end need not be looked at by each collection.
        gc.freeze()
        notify("READY=1")
        _log.info("%d remote perspectives, configuration %s", len(fleet.remotes), software.configuration_sha256[:16])
        await _until(stopping, proving)
        notify("STOPPING=1")
        await front.close(settings.limits.answer_s)
        await evidence.submit(life_event(EventType.STOP, actor, software, (), time=utc_text(_now())))


def changed_configuration(last: Path, current: str) -> str | None:
    """The hash in the file `last` ("" where there is none) if it is not `current`; None where nothing changed."""
    before = last.read_text(encoding="ascii") if last.exists() else ""
    return None if before == current else before


async def _until(stopping: asyncio.Event, proving: asyncio.Task[None] | None = None) -> None:
    """Tells the service manager's watchdog, as long as the loop runs and proofs are judged, that it does."""
    while not stopping.is_set():
        if proving is not None and proving.done():
            proving.result()
        notify("WATCHDOG=1")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _WATCHDOG_S)


def _channels(settings: Settings) -> dict[str, Channel]:
    remotes = [RemoteChannel(remote, settings.limits.probe_interval_s) for remote in settings.remote_perspectives]
    named = zip((remote.code for remote in settings.remote_perspectives), remotes, strict=True)
    return {**_local_channels(settings), **dict(named)}


def _local_channels(settings: Settings) -> dict[str, Channel]:
    return {
        code: WorkerChannel(
            settings.worker_socket(code),
            code,
            find_user(user).uid,
            on_fault=lambda text, code=code: _log.error("worker %s broke the channel's rules: %s", code, text),  # type: ignore[misc]
        )
        for code, user in local_users(settings).items()
    }


def _now() -> datetime:
    return datetime.now(UTC)


@functools.lru_cache(maxsize=1)
def _clock_state_at(_second: int) -> ClockState:
    """A clock that cannot be asked about is not known to be synchronised."""
    try:
        return clock_state()
    except OSError:
        return ClockState(synchronised=False, offset_us=0, max_error_us=0, estimated_error_us=0)


def _clock_state() -> ClockState:
    """Asked of the kernel once a second: adjtimex(2) costs a tenth of a decision."""
    return _clock_state_at(int(time.monotonic()))
