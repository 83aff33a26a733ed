"""What a check has seen so far. It is filled as things happen, so that a time limit still leaves the evidence."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from typing import Final, Self

from appliance.errors import ApplianceError
from appliance.model.observation import (
    CaaFinding,
    CertificateSeen,
    CheckError,
    Connection,
    DnssecStatus,
    Fault,
    Hop,
    Lookup,
)
from appliance.net.dns.resolver import Asks, Reply

MAX_LOOKUPS: Final = 160
MAX_CONNECTIONS_PER_HOP: Final = 8
_BODY_PREFIX_BYTES: Final = 100
_WEAKNESS: Final = {
    DnssecStatus.SECURE: 0,
    DnssecStatus.INSECURE: 1,
    DnssecStatus.INDETERMINATE: 2,
    DnssecStatus.BOGUS: 3,
}


class StepFailed(ApplianceError):
    """A step of a check could not be done; the check ends there. `error` says which and why."""

    def __init__(self, code: str, message: str, step: str, fault: Fault = Fault.TARGET) -> None:
        super().__init__(message)
        self.error = CheckError(code, message, step, fault)

    @classmethod
    def of(cls, error: CheckError | None, code: str, message: str, step: str) -> Self:
        """That of `error`, where there is one."""
        return cls(code, message, step) if error is None else cls(error.code, error.message, error.step, error.fault)


class HopTrace:
    """One HTTP request under way. `head`: the request as it was sent, which is not kept as evidence."""

    __slots__ = ("began_ns", "body", "connections", "ended_ns", "error", "head", "location", "status", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.head = ""
        self.began_ns = time.monotonic_ns()
        self.ended_ns = 0
        self.connections: list[Connection] = []
        self.status: int | None = None
        self.location: str | None = None
        self.body = b""
        self.error: CheckError | None = None

    def connection(self, connection: Connection) -> None:
        """Keep one attempt to connect."""
        if len(self.connections) < MAX_CONNECTIONS_PER_HOP:
            self.connections.append(connection)

    def end(self) -> None:
        """The answer is there, or never will be."""
        self.ended_ns = time.monotonic_ns()

    def frozen(self) -> Hop:
        """The hop as evidence."""
        return Hop(
            self.url,
            tuple(self.connections),
            status=self.status,
            location=self.location,
            body_length=len(self.body),
            body_sha256=sha256(self.body).hexdigest() if self.status is not None else None,
            body_prefix=self.body[:_BODY_PREFIX_BYTES].decode("latin-1"),
            elapsed_us=((self.ended_ns or time.monotonic_ns()) - self.began_ns) // 1000,
            error=self.error,
        )


class Trace:
    """One check under way. `step` is what runs now; `steps` what ran before it, with microseconds. `dnssec` is the weakest
    status of the look-ups that the check needed. `connections`, `certificate`: of a method that speaks TLS alone; `caa`: of
    the CAA check. `deadline_s`: how long the whole check may take."""

    __slots__ = (
        "_since_ns",
        "began_ns",
        "caa",
        "certificate",
        "connections",
        "deadline_s",
        "dnssec",
        "hops",
        "lookups",
        "seen",
        "step",
        "steps",
    )

    def __init__(self, deadline_s: float = 60.0) -> None:
        self.began_ns = self._since_ns = time.monotonic_ns()
        self.deadline_s = deadline_s
        self.step = "start"
        self.steps: list[tuple[str, int]] = []
        self.lookups: list[Lookup] = []
        self.hops: list[HopTrace] = []
        self.seen: list[str] = []
        self.dnssec: DnssecStatus | None = None
        self.connections: list[Connection] = []
        self.certificate: CertificateSeen | None = None
        self.caa: CaaFinding | None = None

    def enter(self, step: str) -> None:
        """Begin a step; the one before it ends here."""
        now_ns = time.monotonic_ns()
        if self.step != "start":
            self.steps.append((self.step, (now_ns - self._since_ns) // 1000))
        self.step = step
        self._since_ns = now_ns

    def lookup(self, lookup: Lookup, *, needed: bool = True) -> None:
        """Keep one question and its answer; where the check did not need it itself, its DNSSEC status does not count."""
        if len(self.lookups) < MAX_LOOKUPS:
            self.lookups.append(lookup)
        if needed and (self.dnssec is None or _WEAKNESS[lookup.dnssec] > _WEAKNESS[self.dnssec]):
            self.dnssec = lookup.dnssec

    async def query(self, resolver: Asks, name: str, rdtype: str, *, needed: bool = True) -> Reply:
        """Ask one question and keep what came of it, also where this is cancelled meanwhile."""
        began_ns = time.monotonic_ns()
        try:
            reply = await resolver.query(name, rdtype)
        except asyncio.CancelledError:
            self.lookup(_unanswered(name, rdtype, began_ns), needed=needed)
            raise
        self.lookup(reply.lookup, needed=needed)
        return reply

    async def addresses(self, resolver: Asks, name: str) -> tuple[Reply, Reply]:
        """Ask for AAAA and A at once, as `query` does."""
        began_ns = time.monotonic_ns()
        try:
            replies = await resolver.addresses(name)
        except asyncio.CancelledError:
            self.lookup(_unanswered(name, "AAAA", began_ns))
            self.lookup(_unanswered(name, "A", began_ns))
            raise
        for reply in replies:
            self.lookup(reply.lookup)
        return replies

    def hop(self, url: str) -> HopTrace:
        """Begin an HTTP request."""
        hop = HopTrace(url)
        self.hops.append(hop)
        return hop

    @property
    def elapsed_us(self) -> int:
        """Microseconds since the check began."""
        return (time.monotonic_ns() - self.began_ns) // 1000


def _unanswered(name: str, rdtype: str, began_ns: int) -> Lookup:
    error = CheckError("dns.unfinished", "the check ended before the answer came", f"dns.{rdtype}")
    elapsed_us = (time.monotonic_ns() - began_ns) // 1000
    return Lookup(name, rdtype, None, ad=False, dnssec=DnssecStatus.INDETERMINATE, elapsed_us=elapsed_us, error=error)
