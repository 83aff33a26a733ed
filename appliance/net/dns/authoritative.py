"""Questions to authoritative name servers, asked by the worker itself: without recursion, one socket for each question."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from appliance.model.observation import ServerSaid
from appliance.net.dns.message import UDP_PAYLOAD_BYTES, Response, answers, build_direct_query, parse_response, question
from appliance.net.dns.names import Malformed, name_to_wire
from appliance.net.dns.rdata import TYPES
from appliance.net.special_purpose import IpNetwork, refused

PORT: Final = 53
# A datagram may be lost on the way there or back: each question is sent three times, a second apart.
SENT_AT_MOST: Final = 3
RESEND_AFTER_S: Final = 1.0
# Sockets of one worker together; a check that finds none left shows nothing. Each is an entry in the egress node's connection
# table for half a minute, which has room for 8192 of one perspective by default.
MAX_SOCKETS: Final = 1024
_TCP_S: Final = 2.0
_READS_PER_WAKE: Final = 16
_HEADER_BYTES: Final = 12
# What a server may answer that it will or can not; NXDOMAIN is an answer.
_ERRORS: Final = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}
_ANSWERED: Final = frozenset({0, 3})
_NS, _SOA = TYPES["NS"], TYPES["SOA"]


class Said(msgspec.Struct, frozen=True):
    """What one server made of one question. `rcode`: of an error alone, by its mnemonic."""

    said: ServerSaid
    rcode: str = ""
    response: Response | None = None
    elapsed_us: int = 0


class Question(Protocol):
    """One question under way. `said` is what came of it so far: None while nothing did. A real answer replaces anything
    that came before it, for as long as the question is not closed."""

    @property
    def said(self) -> Said | None:
        """What came so far."""
        ...

    @property
    def sent_ns(self) -> int:
        """When it was sent first, by `time.monotonic_ns`."""
        ...

    async def changed(self) -> None:
        """Return once `said` is something, or something else than before."""
        ...

    def close(self) -> None:
        """Listen no longer."""
        ...


class AsksServers(Protocol):
    """What the proof of a look-up failure needs of a client; tests put their own in its place."""

    def refused(self, address: str) -> str | None:
        """Why nothing may be sent to this address, or None where it may."""
        ...

    def ask(self, address: str, name: str, rdtype: str, *, edns: bool) -> Question:
        """Send a question now. Raises `BadName`, and `OSError` where no socket is to be had or the address is refused."""
        ...


class ServersClient:
    """Asks from this process's own namespace. `exceptions`: special-purpose networks that may be contacted all the same."""

    def __init__(self, exceptions: Sequence[IpNetwork] = (), *, port: int = PORT) -> None:
        self._exceptions = tuple(exceptions)
        self._port = port
        self._open = 0

    def refused(self, address: str) -> str | None:
        """See `AsksServers.refused`."""
        return refused(address, self._exceptions)

    def ask(self, address: str, name: str, rdtype: str, *, edns: bool) -> Question:
        """See `AsksServers.ask`."""
        problem = self.refused(address)
        if problem is not None:
            raise PermissionError(errno.EACCES, problem)
        if self._open >= MAX_SOCKETS:
            raise OSError(errno.EMFILE, f"{MAX_SOCKETS} questions to name servers are open")
        asked = question(name_to_wire(name), TYPES[rdtype])
        made = _Question((address, self._port), asked, edns=edns, closed=self._closed)
        self._open += 1
        return made

    def _closed(self) -> None:
        self._open -= 1


class _Question:
    """A connected UDP socket, so that the kernel passes on that the port is closed, and takes datagrams from nobody else."""

    def __init__(self, end: tuple[str, int], asked: bytes, *, edns: bool, closed: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = end
        self._asked = asked
        self._id = int.from_bytes(os.urandom(2))
        self._query = build_direct_query(self._id, asked, edns=edns)
        self._closed = closed
        self._said: Said | None = None
        self._changed = asyncio.Event()
        self._tcp: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0
        self._cut_off = False
        self._failed_over_udp: Said | None = None
        family = socket.AF_INET6 if ":" in end[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.sent_ns = time.monotonic_ns()
        try:
            self._socket.connect(end)
        except OSError:
            # There is no route: that is no word of the server's.
            self._say(Said(ServerSaid.UNREACHABLE))
            return
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._send()

    @property
    def said(self) -> Said | None:
        return self._said

    async def changed(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    def close(self) -> None:
        if self._socket.fileno() == -1:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._tcp is not None:
            self._tcp.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._closed()

    def _send(self) -> None:
        self._sent += 1
        self._timer = self._loop.call_later(RESEND_AFTER_S, self._resend) if self._sent < SENT_AT_MOST else None
        try:
            self._socket.send(self._query)
        except BlockingIOError:
            pass  # as if lost on the way
        except OSError as error:
            self._failed(error)

    def _resend(self) -> None:
        if self._said is not None or self._tcp is not None:
            return
        self._send()
        if self._sent == SENT_AT_MOST:
            # Response rate limiting drops answers to whoever seems to ask too much, and over UDP anybody can make that seem.
            self._ask_over_tcp_too(None)

    def _readable(self) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                message = self._socket.recv(UDP_PAYLOAD_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._failed(error)
                self._loop.call_soon(self._watch_again)
                return
            self._received(message)

    def _watch_again(self) -> None:
        """uvloop lets go of a descriptor that had an error."""
        if self._socket.fileno() != -1:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def _failed(self, error: OSError) -> None:
        if isinstance(error, ConnectionRefusedError):
            # Anybody may have sent that ICMP error. Only the server, or somebody on the path to it, can refuse a TCP connection.
            self._over_tcp()
        else:
            self._say(Said(ServerSaid.UNREACHABLE))

    def _received(self, message: bytes) -> None:
        if int.from_bytes(message[:2]) != self._id:
            self._say(Said(ServerSaid.ODD))
            return
        said = read(message, self._asked)
        if said is None:
            self._cut_off = True
            self._over_tcp()
        elif said.said is ServerSaid.ERROR:
            self._ask_over_tcp_too(said)
        else:
            self._say(said)

    def _ask_over_tcp_too(self, over_udp: Said | None) -> None:
        """`over_udp`: the error that came, None for silence. It stands unless the server answers over TCP."""
        self._failed_over_udp = over_udp or self._failed_over_udp
        if self._tcp is None:
            self._tcp = self._loop.create_task(self._confirm_over_tcp())
        elif self._tcp.done() and over_udp is not None:
            self._say(over_udp)

    async def _confirm_over_tcp(self) -> None:
        said = None
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(_TCP_S):
                message = await self._exchange()
            if int.from_bytes(message[:2]) == self._id:
                said = read(message, self._asked)
        if said is not None and said.said in {ServerSaid.ANSWER, ServerSaid.REFERRAL, ServerSaid.ODD}:
            self._say(said)
        elif self._cut_off:
            self._say(Said(ServerSaid.ODD))
        elif self._failed_over_udp is not None:
            self._say(self._failed_over_udp)

    def _say(self, said: Said) -> None:
        final = self._said is not None and self._said.said in {ServerSaid.ANSWER, ServerSaid.REFERRAL}
        if final or (self._said is not None and said.said not in {ServerSaid.ANSWER, ServerSaid.REFERRAL}):
            return
        elapsed_us = (time.monotonic_ns() - self.sent_ns) // 1000
        self._said = msgspec.structs.replace(said, elapsed_us=elapsed_us)
        self._changed.set()

    def _over_tcp(self) -> None:
        if self._tcp is None:
            self._tcp = self._loop.create_task(self._ask_over_tcp())

    async def _ask_over_tcp(self) -> None:
        """Where the UDP answer was cut off, or the port seemed closed: what the server says over TCP counts."""
        try:
            async with asyncio.timeout(_TCP_S):
                message = await self._exchange()
        except ConnectionRefusedError:
            # Over UDP it had an answer, where that was cut off; that it cannot be had is no refusal to give one.
            said: Said | None = Said(ServerSaid.ODD if self._cut_off else ServerSaid.CLOSED)
        except (OSError, EOFError, TimeoutError):
            # It was there, and did not finish: neither silence nor an error that it stands for.
            said = Said(ServerSaid.UNREACHABLE)
        else:
            own = int.from_bytes(message[:2]) == self._id
            said = read(message, self._asked) if own else None
        self._say(said or Said(ServerSaid.ODD))

    async def _exchange(self) -> bytes:
        reader, writer = await asyncio.open_connection(*self._end)
        try:
            writer.write(len(self._query).to_bytes(2) + self._query)
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                writer.transport.abort()


def read(message: bytes, asked: bytes) -> Said | None:
    """What a message with the question's own id says; None where it was cut off for UDP (TC). Whatever its bytes are."""
    if not answers(message, asked):
        return _bare_error(message)
    try:
        response = parse_response(message, asked, with_additional=True)
    except Malformed:
        return Said(ServerSaid.ODD)
    if response.truncated:
        return None
    if response.rcode in _ERRORS:
        return Said(ServerSaid.ERROR, _ERRORS[response.rcode], response)
    if response.rcode not in _ANSWERED:
        return Said(ServerSaid.ODD, response=response)
    return Said(ServerSaid.REFERRAL if _refers(response) else ServerSaid.ANSWER, response=response)


def _bare_error(message: bytes) -> Said:
    """A header and no question, as servers send it that could not read one (RFC 1035 section 4.1.1)."""
    is_response = len(message) == _HEADER_BYTES and message[2] & 0x80 == 0x80 and not any(message[4:])
    rcode = _ERRORS.get(message[3] & 0x0F) if is_response else None
    return Said(ServerSaid.ODD) if rcode is None else Said(ServerSaid.ERROR, rcode)


def _refers(response: Response) -> bool:
    """RFC 1034 section 4.3.2: no answer and no authority for one, only the way to those who have it."""
    types = {record.rdtype for record in response.authority}
    return response.rcode == 0 and not response.aa and not response.answers and _NS in types and _SOA not in types
