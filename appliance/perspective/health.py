"""Whether this perspective may corroborate now: confinement, path, resolver and exit, watched all the time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from appliance.config.schema import TimeLimits
from appliance.model.egress import EgressStatus
from appliance.model.health import WorkerStatus
from appliance.model.observation import CheckError, Fault
from appliance.model.proof import Measured
from appliance.net.dns.resolver import Asks
from appliance.perspective.anchors import Anchors
from appliance.perspective.assignment import Assignment
from appliance.perspective.guard import Guard, View
from appliance.perspective.path import PathState, probe
from appliance.perspective.root_anchor import root_anchor_problem
from appliance.perspective.unbound_control import ResolverRefused, flush_infrastructure

STEP = "confinement"
_LOOK_INTERVAL_S = 0.5
_QUICK_PROBE_S = 0.5
_CONTROL_TIMEOUT_S = 2.0
_FIRST_ANCHORS_S = 3.0
_ROOT_UNKNOWN = "resolver: whether it has the root's trust anchor is not known yet"
# unbound answers this itself (RFC 6761 section 6.3), so it tells of the resolver and of nothing behind it.
_LOCAL_NAME = "localhost"


class Health:
    """Ready is what is confined, has its path, has a resolver that forgot the last outage, and an exit that is proven.

    `changed` is called with each new status, `broken` soon after the path broke, if only for a moment: what is in flight
    cannot corroborate any more. `asks` is the resolver, `control_socket` its control, `measured` gives the latest times to
    authenticated anchors, and `egress` what the egress node says of itself; readiness depends on neither.
    """

    def __init__(
        self,
        assignment: Assignment,
        limits: TimeLimits,
        guard: Guard,
        anchors: Anchors,
        asks: Asks,
        control_socket: Path,
        *,
        changed: Callable[[WorkerStatus], None],
        broken: Callable[[], None],
        measured: Callable[[], Measured | None] = lambda: None,
        egress: Callable[[], EgressStatus | None] = lambda: None,
    ) -> None:
        self._assignment = assignment
        self._limits = limits
        self._guard = guard
        self._anchors = anchors
        self._asks = asks
        self._control_socket = control_socket
        self._changed = changed
        self._broken = broken
        self._measured = measured
        self._egress = egress
        self._path = PathState(must_answer=assignment.far_must_answer)
        self._path_problem = "no answer from the far end of the path yet"
        self._resolver_problem: str | None = None
        self._root_anchor_problem: str | None = _ROOT_UNKNOWN
        self._settled = False
        self._stopping = False
        self._seen_epoch = guard.look().epoch
        self.status = self._status(guard.look())

    def gate(self) -> tuple[int, CheckError | None]:
        """For a check: the epoch of the path, and why no check may run or corroborate now. No packet leaves for this."""
        view = self._look()
        if view.findings.excess:
            return view.epoch, _refusal("perspective.not_confined", view.findings.excess)
        if view.findings.lacking:
            return view.epoch, _refusal("perspective.tunnel_down", view.findings.lacking)
        if not self.status.ready:
            return view.epoch, _refusal("perspective.not_ready", self.status.reasons)
        return view.epoch, None

    def doubts(self) -> tuple[str, ...]:
        """Why this perspective's own proofs do not hold now; empty where they do. No packet leaves for this."""
        _, refused = self.gate()
        return () if refused is None else (refused.message,)

    def notice(self) -> None:
        """Something may have changed: look, and tell."""
        self._look()
        self._publish()

    def stop(self) -> None:
        """Never ready again."""
        self._stopping = True
        self._publish()

    async def run(self) -> None:
        """Watches until it is cancelled, or until another namespace was published in place of this one."""
        probing = asyncio.create_task(self._probe())
        anchoring = asyncio.create_task(self._anchor())
        try:
            while not self._guard.moved:
                self.notice()
                done, _ = await asyncio.wait({probing, anchoring}, timeout=_LOOK_INTERVAL_S)
                for task in done:
                    task.result()
        finally:
            probing.cancel()
            anchoring.cancel()

    def _look(self) -> View:
        view = self._guard.look()
        if view.epoch != self._seen_epoch:
            self._seen_epoch = view.epoch
            self._path.cut()
            self._settled = False
            self._path_problem = "no answer from the far end of the path since it broke"
            # Soon, not now: a check may be asking this very question, and its evidence is to be kept.
            asyncio.get_running_loop().call_soon(self._broken)
            self._publish()
        return view

    def _publish(self) -> None:
        status = self._status(self._guard.look())
        if status != self.status:
            self.status = status
            self._changed(status)

    def _status(self, view: View) -> WorkerStatus:
        reasons = self._reasons(view)
        return WorkerStatus(
            perspective=self._assignment.code,
            ready=not reasons,
            reasons=reasons,
            egress_addresses=self._anchors.addresses(),
            authenticated_addresses=self._anchors.authenticated_addresses(),
            anchored_at=self._anchors.seen_at(),
            path_rtt_us=self._path.rtt_us,
            netns_inode=self._guard.own_inode,
            root_anchor_problem=self._root_anchor_problem,
            confined=not view.findings.excess,
            path_up=view.intact and self._path.up,
            measured=self._measured(),
            egress=self._egress(),
        )

    def _reasons(self, view: View) -> tuple[str, ...]:
        if self._stopping:
            return ("stopping",)
        if not view.intact:
            return view.findings.excess + view.findings.lacking
        if not self._path.up:
            return (self._path_problem,)
        if self._resolver_problem is not None:
            return (self._resolver_problem,)
        if not self._settled:
            return ("the resolver has not yet forgotten the last outage",)
        return self._anchors.reasons() if self._root_anchor_problem is None else (self._root_anchor_problem,)

    async def _probe(self) -> None:
        interval_s = self._limits.probe_interval_s
        while True:
            await self._round()
            self._publish()
            hurry = not self.status.ready or self._path.missing
            await asyncio.sleep(min(interval_s, _QUICK_PROBE_S) if hurry else interval_s)

    async def _round(self) -> None:
        before = self._look()
        if not before.intact:
            return
        rtt_us = await self._echo()
        if self._look().epoch != before.epoch:
            return
        self._path.round(rtt_us)
        self._settled = self._settled and self._path.up
        if self._path.up:
            await self._ask_resolver()
            if self._resolver_problem is None and not self._settled:
                await self._settle(before.epoch)

    async def _echo(self) -> int | None:
        try:
            rtt_us = await probe(self._assignment)
        except PermissionError:
            self._path_problem = "echo requests are not permitted here (net.ipv4.ping_group_range)"
            return None
        if rtt_us is None:
            self._path_problem = "no answer from the far end of the path"
        return rtt_us

    async def _ask_resolver(self) -> None:
        reply = await self._asks.query(_LOCAL_NAME, "A")
        error = reply.lookup.error
        self._resolver_problem = None if error is None else f"resolver: {error.message}"

    async def _ask_root(self) -> None:
        self._root_anchor_problem = await root_anchor_problem(self._asks, self._root_anchor_problem)

    async def _settle(self, epoch: int) -> None:
        try:
            await flush_infrastructure(self._control_socket, _CONTROL_TIMEOUT_S)
        except ResolverRefused as error:
            self._resolver_problem = f"resolver: {error}"
            return
        # The exit may be another one since, and a resolver that was started anew may trust no root: both are looked at before
        # the first check; a dead anchor must not hold it up.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(self._ask_root(), self._anchors.ask_all()), _FIRST_ANCHORS_S)
        self._settled = self._look().epoch == epoch

    async def _anchor(self) -> None:
        while True:
            await asyncio.sleep(self._limits.probe_interval_s * (2 if self.status.ready else 1))
            if self._settled:
                await self._ask_root()
                await self._anchors.ask_all()
                self._publish()


def _refusal(code: str, reasons: tuple[str, ...]) -> CheckError:
    return CheckError(code, "; ".join(reasons), STEP, Fault.PERSPECTIVE)


def broken_meanwhile() -> CheckError:
    """For an observation during which the path was broken, if only for a moment: how it came to be is not known."""
    return CheckError("perspective.tunnel_down", "the path broke during the check", STEP, Fault.PERSPECTIVE)
