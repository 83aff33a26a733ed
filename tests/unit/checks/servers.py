"""Name servers that are scripted, and a tree of zones for them: `n.example` in a zone of its own, below `example`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from appliance.model.observation import ServerSaid
from appliance.net.dns.authoritative import Said
from appliance.net.dns.message import Response, Rr
from appliance.net.dns.names import name_to_wire
from appliance.net.dns.rdata import TYPES
from appliance.net.special_purpose import refused
from tests.unit.checks.help import Table

PARENT, CHILD_4, CHILD_6 = "192.0.9.1", "192.0.9.53", "2a00::53"
TREE: Table = {
    ("example", "NS"): ["ns.example."],
    ("ns.example", "A"): [PARENT],
}
# What a server does of one question: what it says and after how many seconds; None for silence.
Script = Callable[[str, str, str, bool], tuple[Said, float] | Said | None]


def rr(owner: str, rdtype: str, rdata: bytes) -> Rr:
    return Rr(name_to_wire(owner), TYPES[rdtype], 60, rdata)


def referral(zone: str, servers: dict[str, list[str]]) -> Said:
    authority = tuple(rr(zone, "NS", name_to_wire(server)) for server in servers)
    additional = tuple(
        rr(server, "A", bytes(map(int, one.split("."))))
        for server, addresses in servers.items()
        for one in addresses
        if ":" not in one
    )
    return Said(ServerSaid.REFERRAL, response=Response(0, False, False, (), (), (), authority, additional))


def answer(zone: str = "n.example", *, aa: bool = True) -> Said:
    """No data, with the zone's SOA."""
    soa = (rr(zone, "SOA", b""),)
    return Said(ServerSaid.ANSWER, response=Response(0, False, False, (), (), (), soa, aa=aa))


def error(rcode: str = "SERVFAIL") -> Said:
    return Said(ServerSaid.ERROR, rcode)


class FakeQuestion:
    def __init__(self, told: tuple[Said, float] | Said | None) -> None:
        self.said: Said | None = None
        self.sent_ns = time.monotonic_ns()
        self.closed = False
        self._event = asyncio.Event()
        if isinstance(told, tuple):
            self._timer = asyncio.get_running_loop().call_later(told[1], self._say, told[0])
        elif told is not None:
            self._say(told)

    def _say(self, said: Said) -> None:
        if not self.closed:
            self.said = said
            self._event.set()

    async def changed(self) -> None:
        await self._event.wait()
        self._event.clear()

    def close(self) -> None:
        self.closed = True


class FakeServers:
    """`script` is what the servers of `n.example` do; those of `example` refer to them. `asked`: every question sent."""

    def __init__(self, script: Script, delegation: Said | None = None) -> None:
        self.script = script
        self.parent: Said | None = delegation or referral("n.example", {"ns.n.example": [CHILD_4]})
        self.asked: list[tuple[str, str, str, bool]] = []
        self.questions: list[FakeQuestion] = []

    def refused(self, address: str) -> str | None:
        return refused(address)

    def ask(self, address: str, name: str, rdtype: str, *, edns: bool) -> FakeQuestion:
        assert refused(address) is None
        self.asked.append((address, name, rdtype, edns))
        question = FakeQuestion(self.parent if address == PARENT else self.script(address, name, rdtype, edns))
        self.questions.append(question)
        return question


def failing(told: tuple[Said, float] | Said | None) -> Script:
    """Every question is answered so."""

    def script(address: str, name: str, rdtype: str, edns: bool) -> tuple[Said, float] | Said | None:
        return told

    return script


def dropping(address: str, name: str, rdtype: str, edns: bool) -> Said | None:
    """SOA is answered, CAA is not."""
    return None if rdtype == "CAA" else answer()
