"""The one UDP socket to the resolver: many questions in flight, told apart by id and question."""

from __future__ import annotations

import asyncio
import os
import socket
from random import random
from struct import Struct
from typing import Final, Self

from appliance.net.dns.message import UDP_PAYLOAD_BYTES, answers, build_query

MAX_IN_FLIGHT: Final = 16384
# Loopback loses what overruns the resolver's socket buffer; a question is sent again after this or up to twice as long,
# then after double that, and so on.
_RESEND_AFTER_S: Final = 0.7
_READS_PER_WAKE: Final = 64
_SOCKET_BUFFER_BYTES: Final = 1 << 20
# Ids cannot be foreseen; they are drawn many at a time.
_IDS: Final = Struct("!128H")


# The response's bytes, an error where the resolver is not there, or None at the time limit: a result, not an exception,
# since nobody may be left to retrieve it.
Outcome = bytes | OSError | None


class Busy(Exception):
    """More questions are in flight than ids can tell apart."""


class _Pending:
    """One question in flight."""

    __slots__ = ("asked", "deadline", "future", "message_id", "query", "resend_s", "timer")

    def __init__(self, message_id: int, asked: bytes, dnssec: bool, future: asyncio.Future[Outcome]) -> None:
        self.message_id = message_id
        self.asked = asked
        self.query = build_query(message_id, asked, dnssec=dnssec)
        self.future = future
        self.timer: asyncio.TimerHandle
        self.resend_s = _RESEND_AFTER_S
        self.deadline = 0.0


class QuerySocket:
    """A connected UDP socket on the event loop. No limit below that of the ids: dead names must not starve good ones."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._socket = sock
        self._pending: dict[int, _Pending] = {}
        self._random: list[int] = []
        loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    def open(cls, address: str, port: int) -> Self:
        """Connect to a resolver. Needs a running event loop."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
        sock.connect((address, port))
        return cls(asyncio.get_running_loop(), sock)

    def ask(self, asked: bytes, timeout_s: float, *, dnssec: bool = False) -> asyncio.Future[Outcome]:
        """Send a question now. The future's result is the first response to exactly it, or None after `timeout_s`, or
        an OSError where the resolver is not there. Raises `Busy`. Cancelling the future forgets the question.
        """
        if len(self._pending) >= MAX_IN_FLIGHT:
            raise Busy
        message_id = self._fresh_id()
        future: asyncio.Future[Outcome] = self._loop.create_future()
        pending = _Pending(message_id, asked, dnssec, future)
        pending.deadline = self._loop.time() + timeout_s
        self._pending[message_id] = pending
        self._wait(pending)
        self._send(pending)
        return future

    def _fresh_id(self) -> int:
        while True:
            if not self._random:
                self._random = list(_IDS.unpack(os.urandom(_IDS.size)))
            message_id = self._random.pop()
            if message_id not in self._pending:
                return message_id

    @property
    def in_flight(self) -> int:
        """How many questions wait for an answer."""
        return len(self._pending)

    def close(self) -> None:
        """Fail what is in flight and close the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._fail(ConnectionAbortedError("the resolver's client was closed"))
        self._socket.close()

    def _send(self, pending: _Pending) -> None:
        try:
            self._socket.send(pending.query)
        except BlockingIOError:
            pass  # as if lost on the way: it is sent again
        except OSError as error:
            # An ICMP error of an earlier datagram may surface here; it says the same of this one.
            self._end(pending, error)

    def _resend(self, pending: _Pending) -> None:
        if pending.future.done():
            self._end(pending, None)
            return
        self._wait(pending)
        self._send(pending)

    def _wait(self, pending: _Pending) -> None:
        left_s = pending.deadline - self._loop.time()
        if left_s <= 2 * pending.resend_s:
            pending.timer = self._loop.call_later(left_s, self._end, pending, None)
        else:
            # Spread out, so that a burst that overran the buffer does not come again as one.
            pending.timer = self._loop.call_later(pending.resend_s * (1 + random()), self._resend, pending)  # noqa: S311
            pending.resend_s *= 2

    def _end(self, pending: _Pending, result: Outcome) -> None:
        self._pending.pop(pending.message_id, None)
        pending.timer.cancel()
        if not pending.future.done():
            pending.future.set_result(result)

    def _readable(self) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                message = self._socket.recv(UDP_PAYLOAD_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(error)
                self._loop.call_soon(self._watch_again)
                return
            pending = self._pending.get(int.from_bytes(message[:2]))
            if pending is not None and answers(message, pending.asked):
                self._end(pending, message)

    def _watch_again(self) -> None:
        """uvloop lets go of a descriptor that had an error, as a resolver that restarts gives it."""
        if self._socket.fileno() != -1:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def _fail(self, error: OSError) -> None:
        for pending in list(self._pending.values()):
            self._end(pending, error)
