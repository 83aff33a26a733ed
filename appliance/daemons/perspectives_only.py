"""`mpicd --perspective-only`: single perspectives for others' quorums; and what it shares with the whole `mpicd`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from systemd.daemon import notify

from appliance.api.front import Front
from appliance.api.metrics import Metrics
from appliance.api.own_evidence import OwnEvidence
from appliance.api.perspective import PerspectiveApi
from appliance.config import Settings
from appliance.coordinator.alerts import watch
from appliance.coordinator.coordinator import Evidence
from appliance.coordinator.judgement import open_judgement
from appliance.coordinator.perspectives import Channel, Perspectives
from appliance.coordinator.proofs import UNOPPOSED
from appliance.coordinator.records import life_event
from appliance.coordinator.store import Store
from appliance.coordinator.timekeeping import Clock, Timekeeping
from appliance.coordinator.tunnels import TunnelWatch
from appliance.evidence.actor import actor_of
from appliance.evidence.record import EventType, Software, utc_text
from appliance.net.validatable import Exceptions
from appliance.policy.fleet import Fleet

_log = logging.getLogger("mpicd")


def stop_by_signal() -> asyncio.Event:
    """Is set by SIGTERM and SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


def local_users(settings: Settings) -> dict[str, str | int]:
    """The user of each worker on this host, by perspective."""
    users = {perspective.code: settings.users.perspective for perspective in settings.perspectives}
    if settings.primary.kind == "local":
        users[settings.primary.code] = settings.users.primary
    return users


def perspective_api(
    settings: Settings,
    perspectives: Perspectives,
    evidence: Evidence,
    time: Timekeeping,
    metrics: Metrics,
    objection: Callable[[str], str | None],
    asking: Counter[str],
) -> PerspectiveApi:
    """Offers every perspective whose worker is on this host; others' are not handed on. The rest: see `PerspectiveApi`."""
    limits = settings.limits
    most = settings.api.concurrent_requests
    return PerspectiveApi(
        perspectives,
        local_users(settings),
        evidence,
        time,
        check_s=limits.check_s,
        most=most,
        metrics=metrics,
        objection=objection,
        asking=asking,
        exceptions=Exceptions.of(settings.targets),
    )


async def serve_perspectives(
    settings: Settings,
    fleet: Fleet,
    channels: Mapping[str, Channel],
    store: Store,
    software: Software,
    clock: Clock,
    until: Callable[[asyncio.Event, asyncio.Task[None]], Awaitable[None]],
) -> None:
    """Answers for single perspectives until SIGTERM or SIGINT, then finishes what it accepted."""
    stopping, now = stop_by_signal(), clock.now
    actor, mode, evidence = actor_of(), (("mode", "perspective-only"),), store.writer
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        await evidence.submit(life_event(EventType.START, actor, software, mode, time=utc_text(now())))
        perspectives = Perspectives(channels, TunnelWatch(settings.tunnel_report))
        perspectives.start()
        stack.push_async_callback(perspectives.close)
        metrics = Metrics()
        judgement = await open_judgement(settings, fleet, perspectives, evidence.submit, actor, now)
        proving = judgement.start(stack)

        def objection(code: str) -> str | None:
            return judgement.standings().get(code, UNOPPOSED).withheld

        time = Timekeeping(clock, settings.clock, evidence)
        api = perspective_api(settings, perspectives, evidence, time, metrics, objection, Counter())
        alerting = asyncio.create_task(watch(api.readiness))
        stack.callback(alerting.cancel)
        front = Front(settings, evidence, now, frozenset(channels), metrics.refusals)
        stack.push_async_callback(front.close, settings.limits.answer_s)
        routes = {**api.routes(), **api.health(), **OwnEvidence(settings.database).routes()}
        await front.open(routes, {**routes, **api.operators()})
        notify("READY=1")
        _log.info("perspectives alone: %s", ", ".join(sorted(channels)))
        await until(stopping, proving)
        notify("STOPPING=1")
        await front.close(settings.limits.answer_s)
        await evidence.submit(life_event(EventType.STOP, actor, software, mode, time=utc_text(now())))
