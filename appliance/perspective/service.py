"""One worker from its start to its end: refuses where it is not confined, then answers until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from appliance.checks.context import open_context
from appliance.checks.run import run as run_check
from appliance.config.schema import Settings
from appliance.errors import ConfinementBroken
from appliance.ipc import Server, serve
from appliance.ipc.messages import Status
from appliance.linux.notify import notify, stopping
from appliance.linux.users import find_user
from appliance.model.check import CheckRequest
from appliance.model.observation import Observation
from appliance.perspective.anchors import Anchors
from appliance.perspective.assignment import Assignment
from appliance.perspective.confinement import (
    credential_findings,
    open_sockets,
    own_credentials,
    own_namespace,
    socket_findings,
)
from appliance.perspective.egress_status import EgressWatch
from appliance.perspective.guard import Guard
from appliance.perspective.health import Health
from appliance.perspective.links import LinkWatch
from appliance.perspective.resolver import resolver_paths
from appliance.perspective.round_trips import RoundTrips, echo_anchors
from appliance.perspective.rov import Prober
from appliance.perspective.unbound_control import ResolverRefused, flush_caa
from appliance.perspective.worker import Worker
from appliance.policy.delegation import DelegationRules

# Each of the API's requests may need two checks of a perspective: the domain's validation and CAA.
_CHECKS_PER_REQUEST = 2
_DRAIN_S = 0.7
_FORGET_S = 0.5
_WATCHDOG_INTERVAL_S = 1.0
_log = logging.getLogger(__name__)


class NamespaceReplaced(ConfinementBroken):
    """The tunnel daemon published another namespace than this process is in; only a new start leads there."""


def confine(settings: Settings, assignment: Assignment) -> Guard:
    """Checks all that a worker must not have, before it opens any socket to the Internet or listens.

    Raises `ConfinementBroken` with one line for each finding. What it lacks and may still come is left to `Health`.
    """
    findings = socket_findings(open_sockets())
    findings += credential_findings(own_credentials(), find_user(assignment.user).uid)
    guard = Guard(assignment, settings.tunnel_report, own_namespace(), LinkWatch())
    excess = findings.excess + guard.look().findings.excess
    if excess:
        raise ConfinementBroken("\n".join(excess))
    return guard


async def serve_perspective(settings: Settings, assignment: Assignment, guard: Guard) -> None:
    """Answers until SIGTERM or SIGINT. Raises `NamespaceReplaced`, `SocketInUse`, `NoSuchUser`, `OSError`."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    round_trips = RoundTrips(assignment, echo_anchors(settings, assignment), lambda: _intact_epoch(guard))
    egress = EgressWatch(assignment, lambda: guard.look().intact)
    health, worker, server = await _open(settings, assignment, guard, round_trips, egress)
    _on_readable(guard.fileno(), health.notice)
    watching = asyncio.create_task(health.run())
    alive = asyncio.create_task(_keep_watchdog(health))
    measuring = asyncio.create_task(round_trips.run(settings.limits.place_interval_s, health.notice))
    asking = asyncio.create_task(egress.run(health.notice))
    told_to_stop = asyncio.create_task(stop.wait())
    await asyncio.wait({watching, measuring, asking, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
    stopping()
    loop.remove_reader(guard.fileno())
    health.stop()
    server.stop_listening()
    await worker.drain(_DRAIN_S)
    server.close()
    for task in (alive, told_to_stop):
        task.cancel()
    for task in (measuring, asking):
        if task.done():
            task.result()
    if watching.done():
        watching.result()
        raise NamespaceReplaced("another namespace was published in place of the one that this worker is in")
    for task in (watching, measuring, asking):
        task.cancel()


async def _open(
    settings: Settings, assignment: Assignment, guard: Guard, round_trips: RoundTrips, egress: EgressWatch
) -> tuple[Health, Worker, Server]:
    egress_addresses = _Late()
    control_socket = resolver_paths(settings, assignment.code).control_socket
    context = await open_context(
        assignment.code,
        settings,
        egress_addresses,
        doubts=lambda: health.doubts(),  # noqa: PLW0108 -- made below, as it needs the context's resolver
        forget=partial(_forget, control_socket),
        delegation=DelegationRules(settings.delegation.max_cname_chain, settings.delegation.ca_delegation_zones),
        versions=assignment.versions,
    )
    anchors = Anchors(settings, assignment, context.resolver)
    egress_addresses.anchors = anchors

    async def run(request: CheckRequest) -> Observation:
        return await run_check(request, context)

    worker = Worker(
        assignment.code,
        run,
        lambda: health.gate(),  # noqa: PLW0108 -- made below, as it needs the worker
        capacity=_CHECKS_PER_REQUEST * settings.api.concurrent_requests,
        longest_s=settings.limits.answer_s,
        probe=Prober(settings, context.resolver).run,
    )
    health = Health(
        assignment,
        settings.limits,
        guard,
        anchors,
        context.resolver,
        control_socket,
        changed=lambda status: server.broadcast(Status(status)),
        broken=worker.broken,
        measured=round_trips.measured,
        egress=egress.said,
    )
    server = await serve(
        settings.worker_socket(assignment.code),
        {find_user(settings.users.mpicd).uid},
        worker.told,
        on_connect=lambda connection: connection.send(Status(health.status)),
        on_close=worker.gone,
        on_fault=lambda text: _log.warning("channel: %s", text),
    )
    return health, worker, server


async def _forget(control_socket: Path, name: str) -> bool:
    try:
        await flush_caa(control_socket, name, _FORGET_S)
    except ResolverRefused as error:
        _log.warning("resolver: %s", error)
        return False
    return True


def _intact_epoch(guard: Guard) -> int | None:
    view = guard.look()
    return view.epoch if view.intact else None


class _Late:
    """The context is made before the anchors, which need its resolver."""

    anchors: Anchors | None = None

    def __call__(self) -> tuple[str, ...]:
        return () if self.anchors is None else self.anchors.addresses()


def _on_readable(fd: int, call: Callable[[], None]) -> None:
    """Like `add_reader`, but for good: uvloop lets go of a descriptor that once had an error, here notices that were lost."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        call()
        loop.call_soon(again)

    def again() -> None:
        loop.remove_reader(fd)
        loop.add_reader(fd, readable)

    again()


async def _keep_watchdog(health: Health) -> None:
    """Tells the service manager as long as the loop runs, and the journal whenever the reasons are others."""
    told: tuple[str, ...] | None = None
    while True:
        status = health.status
        text = "ready" if status.ready else "not ready: " + "; ".join(status.reasons)
        notify(ready=True, status=text)
        if status.reasons != told:
            told = status.reasons
            _log.info("%s", text)
        await asyncio.sleep(_WATCHDOG_INTERVAL_S)
