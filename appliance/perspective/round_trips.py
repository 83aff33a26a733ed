"""How long authenticated anchors take to answer through this perspective's path, and how much of it is the tunnel's own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.config.schema import EchoConfig, IpAddress, Settings
from appliance.errors import ConfigError
from appliance.model.proof import Measured, RoundTrip
from appliance.net.echo import DATAGRAM_BYTES, NONCE_BYTES, is_signed, nonce_of, public_key, request_datagram
from appliance.perspective.assignment import Assignment
from appliance.perspective.echo import echo, payload_bytes

# The smallest of many is what counts, so that a busy moment here or there does not matter.
KEPT_ROUNDS = 5
_TRIES = 3
_TIMEOUT_S = 1.5
_PAUSE_S = 0.05
_UNTIL_FIRST_S = 0.5
_log = logging.getLogger(__name__)


class EchoAnchor(msgspec.Struct, frozen=True):
    """An `mpic-echo` server."""

    name: str
    address: IpAddress
    port: int
    key: Ed25519PublicKey


class Round(msgspec.Struct, frozen=True):
    """One round. `tunnel_us`: the smallest inner time; `times_us`: every authenticated reply's by anchor."""

    tunnel_us: int
    times_us: Mapping[str, tuple[int, ...]]


def echo_anchors(settings: Settings, assignment: Assignment) -> tuple[EchoAnchor, ...]:
    """The anchors of this perspective: those at known places, and every other perspective's egress node.

    Raises `ConfigError` for a key that is none.
    """
    named: list[tuple[str, EchoConfig]] = [(anchor.name, anchor) for anchor in settings.place_anchors]
    named += [(peer.code, peer.echo) for peer in settings.perspectives if peer.echo and peer.code != assignment.code]
    try:
        return tuple(
            EchoAnchor(name, config.address, config.port, public_key(config.public_key))
            for name, config in named
            if config.address.version in assignment.versions
        )
    except ValueError as error:
        raise ConfigError([f"public_key of an echo: {error}"]) from error


def combined(rounds: Iterable[Round], at: str) -> Measured | None:
    """The smallest of each over all rounds; None where there was none. Pure."""
    kept = list(rounds)
    if not kept:
        return None
    times: dict[str, list[int]] = {}
    for one in kept:
        for anchor, found in one.times_us.items():
            times.setdefault(anchor, []).extend(found)
    trips = tuple(RoundTrip(anchor, min(found), len(found)) for anchor, found in sorted(times.items()) if found)
    return Measured(at, len(kept), min(one.tunnel_us for one in kept), trips)


class RoundTrips:
    """Measures again and again. `measured` is what it came to on the path as it is now.

    `epoch` gives the epoch of an intact path, None while it is not intact (`Guard.look`); times from before a break count no
    more, since the path may lead elsewhere.
    """

    def __init__(
        self, assignment: Assignment, anchors: tuple[EchoAnchor, ...], epoch: Callable[[], int | None]
    ) -> None:
        self._inner = assignment.far_addresses if assignment.tunnelled else ()
        self._tunnelled = assignment.tunnelled
        self._anchors = anchors
        self._epoch = epoch
        self._rounds: deque[Round] = deque(maxlen=KEPT_ROUNDS)
        self._rounds_epoch: int | None = None
        self._combined: Measured | None = None

    def measured(self) -> Measured | None:
        """None before the first round since the path was last broken, and while it is."""
        current = self._epoch()
        if current is None or current != self._rounds_epoch:
            return None
        return self._combined

    async def run(self, interval_s: float, changed: Callable[[], None]) -> None:
        """Until cancelled; `changed` is called after each round that counted."""
        if not self._anchors:
            await asyncio.get_running_loop().create_future()
        while True:
            before = self._epoch()
            found = None if before is None else await self._round()
            if found is not None and self._epoch() == before:
                self._keep(before, found)
                changed()
            await asyncio.sleep(_UNTIL_FIRST_S if self.measured() is None else interval_s)

    def _keep(self, epoch: int | None, found: Round) -> None:
        if epoch != self._rounds_epoch:
            self._rounds.clear()
            self._rounds_epoch = epoch
        self._rounds.append(found)
        self._combined = combined(self._rounds, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    async def _round(self) -> Round | None:
        """One round; None where the tunnel's own part is not known."""
        inner: list[int] = []
        times: dict[str, list[int]] = {anchor.name: [] for anchor in self._anchors}
        for _ in range(_TRIES):
            tunnel = asyncio.gather(*(echo(one, payload_bytes(one, None), _TIMEOUT_S) for one in self._inner))
            answers = await asyncio.gather(*(round_trip_us(anchor, _TIMEOUT_S) for anchor in self._anchors))
            try:
                inner += [rtt_us for rtt_us in await tunnel if rtt_us is not None]
            except PermissionError:
                _log.warning("echo requests are not permitted here (net.ipv4.ping_group_range)")
                return None
            for anchor, rtt_us in zip(self._anchors, answers, strict=True):
                if rtt_us is not None:
                    times[anchor.name].append(rtt_us)
            await asyncio.sleep(_PAUSE_S)
        if self._tunnelled and not inner:
            return None
        return Round(min(inner, default=0), {name: tuple(found) for name, found in times.items()})


async def round_trip_us(anchor: EchoAnchor, timeout_s: float) -> int | None:
    """Microseconds, rounded up, until `anchor` has answered with its signature; None where it did not within `timeout_s`."""
    nonce = os.urandom(NONCE_BYTES)
    family = socket.AF_INET if anchor.address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as opened:
        try:
            opened.connect((str(anchor.address), anchor.port))
            began_ns = time.monotonic_ns()
            opened.send(request_datagram(nonce))
            async with asyncio.timeout(timeout_s):
                ended_ns = await _reply(opened, nonce, anchor.key)
        except (OSError, TimeoutError):
            return None
    return -(-(ended_ns - began_ns) // 1000)


async def _reply(opened: socket.socket, nonce: bytes, key: Ed25519PublicKey) -> int:
    """When the authenticated answer arrived, monotonic nanoseconds; what else arrives is passed over. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    while True:
        arrived: asyncio.Future[int] = loop.create_future()
        loop.add_reader(opened.fileno(), _note, arrived)
        try:
            ended_ns = await arrived
        finally:
            loop.remove_reader(opened.fileno())
        try:
            datagram = opened.recv(DATAGRAM_BYTES + 1)
        except BlockingIOError:
            continue
        if nonce_of(datagram) == nonce and is_signed(datagram, key):
            return ended_ns


def _note(arrived: asyncio.Future[int]) -> None:
    if not arrived.done():
        arrived.set_result(time.monotonic_ns())
