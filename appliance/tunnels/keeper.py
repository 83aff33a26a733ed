"""Keeps one namespace as it should be, and knows its state."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from appliance.errors import ApplianceError
from appliance.linux import netns, wireguard
from appliance.linux.netlink import Netlink
from appliance.model.tunnel import Backend, TunnelState, TunnelStatus
from appliance.tunnels import backend, health
from appliance.tunnels.desired import DesiredNamespace, VethLink, WireGuardLink
from appliance.tunnels.endpoint import PeerEndpoint
from appliance.tunnels.execute import Executor
from appliance.tunnels.handles import Handles
from appliance.tunnels.observe import ask, observe
from appliance.tunnels.observed import ObservedNamespace
from appliance.tunnels.plan import SILENCE_S, Plan, plan
from appliance.tunnels.record import Entry, Record

_log = logging.getLogger(__name__)
_LOOK_S = 1.0
_LOOK_WHEN_DOWN_S = 0.25
_WHOLE_LOOK_S = 10.0
_KICK_S = 5.0
_FIRST_RETRY_S = 0.25
_LONGEST_RETRY_S = 5.0
_DISCARD_PORT = 9


class NotOurs(ApplianceError):
    """What is found in the namespace's place was made by somebody else; it is left alone."""


class Unanswered(ApplianceError):
    """What was changed was not answered by the egress node."""


class Unsettled(ApplianceError):
    """After several rounds something still undoes what was set."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all keepers share. `published`: called after each change of a status."""

    host: Netlink
    handles: Handles
    launcher: backend.Launcher
    record: Record
    published: Callable[[], None]


class Keeper:
    """One namespace. `run` is its task; `wake` makes it look at once. `has_tried`: set it up once, or could not."""

    def __init__(self, desired: DesiredNamespace, around: Surroundings) -> None:
        self.desired = desired
        self._around = around
        self._executor = Executor(desired, around.host, around.handles, around.launcher, around.record)
        self._endpoint = PeerEndpoint(desired.link.endpoint) if isinstance(desired.link, WireGuardLink) else None
        self._observed = ObservedNamespace()
        self._problem = "not looked at yet"
        self._wake = asyncio.Event()
        self._wake.set()
        self._path: tuple[str, ...] | None = None
        self._answered_s = time.monotonic()
        self._kicked_s = 0.0
        self.has_tried = asyncio.Event()

    def wake(self) -> None:
        """Something changed in the namespace: look at all of it, now."""
        self._wake.set()

    async def change(self, desired: DesiredNamespace, timeout_s: float) -> None:
        """Keeps `desired` from now on. Returns after a handshake made since; else goes on as before and raises `Unanswered`."""
        before = self.desired
        if await self._answered_as(desired, timeout_s):
            return
        await self._answered_as(before, timeout_s)
        raise Unanswered(
            f"{self.desired.code}: the egress node did not answer within {timeout_s:g} s; all is as before"
        )

    async def _answered_as(self, desired: DesiredNamespace, timeout_s: float) -> bool:
        """Whether a handshake is made in time with the namespace as `desired`, which it is to stay."""
        # Handshakes bear whole seconds: one of before must not be taken for one of after.
        since_s = int(time.time()) + 1
        await asyncio.sleep(since_s - time.time() + 0.01)
        self.desired = desired
        self._executor = replace(self._executor, desired=desired)
        self._say("being changed")
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.wake()
            await asyncio.sleep(_LOOK_WHEN_DOWN_S)
            seen = self._observed.interface
            if not self._problem and seen is not None and seen.peers and seen.peers[0].latest_handshake_s >= since_s:
                return True
            self._kick()
        return False

    async def run(self) -> None:
        """Looks, repairs, and looks again, for ever."""
        retry_s = _FIRST_RETRY_S
        whole_look_s = 0.0
        while True:
            down = self.status().state is not TunnelState.UP
            # Not wait_for, which before Python 3.12 may swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_WHEN_DOWN_S if down else _LOOK_S):
                    await self._wake.wait()
            try:
                if self._wake.is_set() or self._problem or time.monotonic() - whole_look_s > _WHOLE_LOOK_S:
                    self._wake.clear()
                    whole_look_s = time.monotonic()
                    await self._reconcile()
                else:
                    await self._glance()
                self.has_tried.set()
                await self._enliven()
                retry_s = _FIRST_RETRY_S
            except (ApplianceError, OSError) as error:
                self._say(str(error))
                self.has_tried.set()
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    async def _reconcile(self) -> None:
        """Looks at everything and does what the plan says, until nothing is left to do. Raises what the executor raises."""
        await self._let_go_of_former()
        for _ in range(3):
            current = await self._look()
            if current.conflicts:
                raise NotOurs("; ".join(current.conflicts))
            if not current.actions:
                self._say("")
                return
            self._say(f"being set right: {', '.join(dict.fromkeys(type(a).__name__ for a in current.actions))}")
            self._put_on_record()
            for action in current.actions:
                await self._executor.execute(action, self._address_of_peer())
        raise Unsettled(f"{self.desired.netns} does not stay as it was set")

    async def host_changed(self) -> None:
        """The host's addresses or routes changed: where the way to the peer did, WireGuard must forget the old one."""
        address = self._endpoint.address if self._endpoint is not None else None
        if address is None:
            return
        way = await self._around.host.path_to(address)
        before, self._path = self._path, way or self._path
        if not way or before is None or before == way:
            return
        current = self._observed.interface
        peer = current.peers[0] if current is not None and current.peers else None
        endpoint = peer.endpoint if peer is not None else None
        if peer is not None and endpoint is not None:
            _log.info("%s: the way to %s is now %s", self.desired.code, endpoint, " ".join(way))
            namespace = await self._executor.wg_namespace()
            await wireguard.set_endpoint(self.desired.interface, namespace, peer.public_key, endpoint)
            self._kick()

    def status(self) -> TunnelStatus:
        """What is published of this namespace."""
        seen = self._observed
        state, reason = TunnelState.UP, ""
        if isinstance(self.desired.link, WireGuardLink):
            state, reason = health.state_of(seen.interface, time.time())
        if self._problem:
            state, reason = TunnelState.DOWN, self._problem
        peer = seen.interface.peers[0] if seen.interface is not None and seen.interface.peers else None
        return TunnelStatus(
            code=self.desired.code,
            netns=self.desired.netns,
            netns_inode=netns.inode_of(netns.path_of(self.desired.netns)),
            interface=self.desired.interface,
            backend=self._backend(),
            state=state,
            reason=reason,
            endpoint=peer.endpoint if peer is not None else None,
            latest_handshake_s=peer.latest_handshake_s if peer is not None else 0,
            received_bytes=peer.received_bytes if peer is not None else 0,
            sent_bytes=peer.sent_bytes if peer is not None else 0,
        )

    def _backend(self) -> Backend:
        seen = self._observed
        if not isinstance(self.desired.link, WireGuardLink) or seen.interface is None or seen.link is None:
            return Backend.NONE
        return Backend.KERNEL if seen.link.kind == "wireguard" else Backend.WIREGUARD_GO

    def _address_of_peer(self) -> str | None:
        return None if self._endpoint is None else self._endpoint.current

    async def _look(self) -> Plan:
        around = self._around
        made_here = around.record.has(self.desired.netns, self.desired.interface)
        silent_s = time.monotonic() - self._answered_s
        seen = await observe(self.desired, around.host, around.handles, made_here=made_here, silent_s=silent_s)
        self._note(seen)
        if self._path is None and self._endpoint is not None and self._endpoint.address is not None:
            self._path = await around.host.path_to(self._endpoint.address) or None
        stale = health.state_of(seen.interface, time.time())[0] is not TunnelState.UP
        return plan(self.desired, seen, self._address_of_peer(), stale=stale)

    async def _glance(self) -> None:
        """The cheap look: is the namespace the same, does the backend answer, what of the handshake."""
        path = netns.path_of(self.desired.netns)
        if netns.inode_of(path) != self._observed.inode:
            self.wake()
        elif isinstance(self.desired.link, WireGuardLink):
            self._note(replace(self._observed, interface=await ask(self.desired, self._observed.link, path)))
            if time.monotonic() - self._answered_s >= SILENCE_S:
                self.wake()

    def _note(self, seen: ObservedNamespace) -> None:
        before = self.status().state
        self._observed = seen
        if seen.interface is not None or seen.link is None:
            self._answered_s = time.monotonic()
        if self.status().state is not before:
            self._around.published()

    async def _enliven(self) -> None:
        """A tunnel without a fresh handshake gets a packet to send, and its endpoint's name another look."""
        if self._endpoint is None or self._problem:
            return
        if health.state_of(self._observed.interface, time.time())[0] is TunnelState.UP:
            return
        if time.monotonic() - self._kicked_s >= _KICK_S:
            self._kick()
            if await self._endpoint.find():
                self._path = None
                self.wake()

    def _kick(self) -> None:
        self._kicked_s = time.monotonic()
        if not isinstance(self.desired.link, WireGuardLink):
            return
        peer = self.desired.link.peer_addresses[0]
        family = socket.AF_INET if peer.version == 4 else socket.AF_INET6
        with (
            suppress(OSError),
            netns.inside(netns.path_of(self.desired.netns)),
            socket.socket(family, socket.SOCK_DGRAM) as sender,
        ):
            sender.sendto(b"", (str(peer), _DISCARD_PORT))

    async def _let_go_of_former(self) -> None:
        """A namespace made anew under its name leaves the interface, alive, in the one that only our handle still names."""
        name = self.desired.netns
        former = self._around.handles.outdated(name)
        if former is not None:
            try:
                await former.remove_link(self.desired.interface)
            finally:
                self._around.handles.drop(name)

    def _put_on_record(self) -> None:
        desired, record = self.desired, self._around.record
        if not record.has(desired.netns, desired.interface):
            made = self._observed.file is netns.NetnsFile.MISSING
            host_link = desired.link.host_name if isinstance(desired.link, VethLink) else None
            record.add(Entry(desired.code, desired.netns, desired.interface, made, host_link))

    def _say(self, problem: str) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            _log.warning("%s: %s", self.desired.code, problem)
        else:
            _log.info("%s: %s is as it should be", self.desired.code, self.desired.netns)
        self._around.published()
