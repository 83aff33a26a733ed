"""The client of the perspective's own validating resolver, which listens on the namespace's loopback."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol, Self

import msgspec

from appliance.model.observation import CheckError, DnssecStatus, Fault, Lookup, Record
from appliance.net.dns.denial import denial_at_zone_cut
from appliance.net.dns.message import (
    Response,
    Rr,
    TooManyRecords,
    answers,
    build_query,
    parse_response,
    question,
    rcode_name,
)
from appliance.net.dns.names import BadName, Malformed, name_to_text, name_to_wire
from appliance.net.dns.rdata import TYPES, presentation, type_name
from appliance.net.dns.socket import Busy, Outcome, QuerySocket

MAX_RECORDS_KEPT: Final = 64
# RFC 8914 sections 4.7 to 4.13: what a validating resolver says of an answer that it will not hand out.
_BOGUS_CODES: Final = frozenset({6, 7, 8, 9, 10, 11, 12})
_ANSWERED: Final = frozenset({"NOERROR", "NXDOMAIN"})
# What a resolver says of the question or the asker; what name servers say of theirs it turns into SERVFAIL.
_OF_THE_RESOLVER: Final = frozenset({"FORMERR", "NOTIMP", "REFUSED"})
RESOLVER_HUNG_UP: Final = "dns.hung-up"


class HungUp(Exception):
    """The resolver accepted a TCP connection, and ended it without an answer."""


class Reply(msgspec.Struct, frozen=True):
    """`lookup` is what is kept as evidence; `rrset` the RDATA found at the end of the CNAME chain, uncompressed."""

    lookup: Lookup
    rrset: tuple[bytes, ...] = ()


class DelegationReply(msgspec.Struct, frozen=True):
    """`lookup` is of DS; where `denied`, it holds the record that denies one at a zone cut, authenticated by the resolver."""

    lookup: Lookup
    denied: bool


class AsksDelegation(Protocol):
    """What the proof that a domain is Insecure needs of a resolver (RFC 4035 section 4.3)."""

    async def delegation(self, name: str) -> DelegationReply:
        """Ask for DS with the proofs (DO). Never raises for what the Internet did: see `Lookup.error`."""
        ...


class Asks(Protocol):
    """What a check needs of a resolver; tests put their own in its place."""

    async def query(self, name: str, rdtype: str) -> Reply:
        """Ask for one RRset by absolute name. Never raises for what the Internet did: see `Lookup.error`."""
        ...

    async def addresses(self, name: str) -> tuple[Reply, Reply]:
        """Ask for AAAA and A at once; the replies in that order."""
        ...


class Resolver:
    """One per process: one connected UDP socket with many questions in flight, TCP where an answer does not fit."""

    def __init__(self, queries: QuerySocket, address: str, port: int, timeout_s: float) -> None:
        self._queries = queries
        self._address = address
        self._port = port
        self._timeout_s = timeout_s

    @classmethod
    async def open(cls, address: str, port: int, *, timeout_s: float) -> Self:
        """Connect to the resolver at `address` and `port`. `timeout_s` bounds each question, TCP fallback included."""
        return cls(QuerySocket.open(address, port), address, port, timeout_s)

    async def query(self, name: str, rdtype: str) -> Reply:
        """See `Asks.query`. `rdtype` is a key of `appliance.net.dns.rdata.TYPES`."""
        return await _Question(self, name, rdtype).reply()

    async def addresses(self, name: str) -> tuple[Reply, Reply]:
        """See `Asks.addresses`."""
        aaaa, a = _Question(self, name, "AAAA"), _Question(self, name, "A")
        return await aaaa.reply(), await a.reply()

    async def delegation(self, name: str) -> DelegationReply:
        """See `AsksDelegation.delegation`."""
        return await _Question(self, name, "DS", dnssec=True).delegation()

    async def lookup(self, name: str, rdtype: str) -> Lookup:
        """Ask for one RRset; only the evidence of it."""
        return (await self.query(name, rdtype)).lookup

    async def close(self) -> None:
        """Fail what is in flight and close the socket."""
        self._queries.close()

    def udp(self, asked: bytes, *, dnssec: bool) -> asyncio.Future[Outcome]:
        """Send a question over UDP; see `QuerySocket.ask`."""
        return self._queries.ask(asked, self._timeout_s, dnssec=dnssec)

    async def tcp(self, asked: bytes, left_s: float, *, dnssec: bool) -> bytes:
        """Ask over TCP (RFC 7766), once more where the resolver hangs up, as one with many connections does.

        Raises TimeoutError, OSError where there is no resolver to connect to, `HungUp`, or `Malformed`.
        """
        query = build_query(0, asked, dnssec=dnssec)
        async with asyncio.timeout(left_s):
            try:
                message = await self._exchange(query)
            except HungUp:
                message = await self._exchange(query)
        if not answers(message, asked):
            raise Malformed("the response over TCP is to another question")
        return message

    async def _exchange(self, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._address, self._port)
        try:
            writer.write(len(query).to_bytes(2) + query)
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        except (ConnectionError, EOFError) as error:
            raise HungUp from error
        finally:
            writer.close()

    @property
    def timeout_s(self) -> float:
        """The limit of each question, in seconds."""
        return self._timeout_s


class _Question:
    """One question, sent over UDP when made."""

    __slots__ = ("_asked", "_began_ns", "_dnssec", "_name", "_rdtype", "_resolver", "_truncated", "_udp")

    def __init__(self, resolver: Resolver, name: str, rdtype: str, *, dnssec: bool = False) -> None:
        self._began_ns = time.monotonic_ns()
        self._resolver = resolver
        self._name = name
        self._rdtype = rdtype
        self._dnssec = dnssec
        self._truncated = False
        self._asked = b""
        self._udp: asyncio.Future[Outcome] | CheckError
        try:
            self._asked = question(name_to_wire(name), TYPES[rdtype])
            self._udp = resolver.udp(self._asked, dnssec=dnssec)
        except BadName as error:
            self._udp = self._error("dns.name", str(error), Fault.TARGET)
        except Busy:
            self._udp = self._error("dns.busy", "too many questions in flight", Fault.PERSPECTIVE)

    async def reply(self) -> Reply:
        """Wait for the answer."""
        response = await self._response()
        if isinstance(response, CheckError):
            return Reply(self._failed(response))
        lookup = self._answered(response)
        return Reply(lookup, tuple([rr.rdata for rr in response.rrset]) if lookup.error is None else ())

    async def delegation(self) -> DelegationReply:
        """Wait for the answer, and look in it for a denial at a zone cut."""
        response = await self._response()
        if isinstance(response, CheckError):
            return DelegationReply(self._failed(response), denied=False)
        lookup = self._answered(response)
        if lookup.error is not None or not response.ad or response.rrset or response.chain:
            return DelegationReply(lookup, denied=False)
        denial = denial_at_zone_cut(self._asked[:-4], response.authority)
        if denial is None:
            return DelegationReply(lookup, denied=False)
        return DelegationReply(msgspec.structs.replace(lookup, records=(_record(denial),)), denied=True)

    async def _response(self) -> Response | CheckError:
        if isinstance(self._udp, CheckError):
            return self._udp
        try:
            message = await self._udp
            if message is None:
                raise TimeoutError
            if isinstance(message, OSError):
                raise message
            response = parse_response(message, self._asked, with_authority=self._dnssec)
            if response.truncated:
                self._truncated = True
                response = await self._over_tcp()
        except (OSError, Malformed, HungUp) as error:
            return self._unanswered(error)
        return response

    async def _over_tcp(self) -> Response:
        left_s = self._resolver.timeout_s - self._elapsed_us() / 1e6
        message = await self._resolver.tcp(self._asked, left_s, dnssec=self._dnssec)
        response = parse_response(message, self._asked, with_authority=self._dnssec)
        if response.truncated:
            raise Malformed("truncated over TCP")
        return response

    def _elapsed_us(self) -> int:
        return (time.monotonic_ns() - self._began_ns) // 1000

    def _error(self, code: str, message: str, fault: Fault) -> CheckError:
        return CheckError(code, f"{self._name[:255]} {self._rdtype}: {message}", f"dns.{self._rdtype}", fault)

    def _unanswered(self, cause: Exception) -> CheckError:
        fault = Fault.TARGET
        match cause:
            case TimeoutError():
                code, message = "dns.timeout", f"no answer within {self._resolver.timeout_s:g} s"
            case TooManyRecords():
                code, message = "dns.too-many-records", str(cause)
            case Malformed():
                code, message = "dns.malformed", f"malformed response: {cause}"
            case HungUp():
                # It is there, for it accepted both times: what it could not cope with is this answer.
                code, message = RESOLVER_HUNG_UP, "the resolver hung up twice without an answer"
            case _:
                code, message, fault = "dns.unreachable", f"no resolver: {cause}", Fault.PERSPECTIVE
        return self._error(code, message, fault)

    def _failed(self, error: CheckError) -> Lookup:
        return Lookup(
            self._name[:255],
            self._rdtype,
            None,
            ad=False,
            dnssec=DnssecStatus.INDETERMINATE,
            truncated=self._truncated,
            elapsed_us=self._elapsed_us(),
            error=error,
        )

    def _answered(self, response: Response) -> Lookup:
        rcode = rcode_name(response.rcode)
        dnssec = _dnssec(rcode, response)
        error = None
        if rcode not in _ANSWERED:
            code = "dns.bogus" if dnssec is DnssecStatus.BOGUS else f"dns.{rcode.lower()}"
            fault = Fault.PERSPECTIVE if rcode in _OF_THE_RESOLVER else Fault.TARGET
            error = self._error(code, _failure(rcode, response.ede), fault)
        return Lookup(
            self._name,
            self._rdtype,
            rcode,
            ad=response.ad,
            dnssec=dnssec,
            records=tuple([_record(rr) for rr in response.rrset[:MAX_RECORDS_KEPT]]),
            chain=tuple([_record(rr) for rr in response.chain]),
            ede=response.ede,
            truncated=self._truncated,
            elapsed_us=self._elapsed_us(),
            error=error,
            clipped=len(response.rrset) > MAX_RECORDS_KEPT,
        )


def _dnssec(rcode: str, response: Response) -> DnssecStatus:
    """RFC 4035 section 4.3, by what a validating resolver tells: AD, or the extended error of a SERVFAIL."""
    if rcode in _ANSWERED:
        return DnssecStatus.SECURE if response.ad else DnssecStatus.INSECURE
    if rcode == "SERVFAIL" and any(code in _BOGUS_CODES for code, _ in response.ede):
        return DnssecStatus.BOGUS
    return DnssecStatus.INDETERMINATE


def _failure(rcode: str, ede: tuple[tuple[int, str], ...]) -> str:
    return " ".join([rcode, *(f"(EDE {code}{': ' + text if text else ''})" for code, text in ede)])


def _record(rr: Rr) -> Record:
    return Record(name_to_text(rr.owner), type_name(rr.rdtype), rr.ttl_s, presentation(rr.rdtype, rr.rdata))
