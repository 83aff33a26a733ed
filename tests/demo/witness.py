"""What the targets saw: which source addresses asked the honest applicant, and which the attacker."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.lab import topology
from tests.lab.lab import Lab

ATTACKER: Final = "mallory"
_OWNERS: Final = {
    str(address): code
    for code, addresses in (
        (topology.PRIMARY.code, topology.PRIMARY.address),
        *((egress.code, egress.address) for egress in topology.EGRESSES),
    )
    for address in addresses
}


@dataclass(slots=True)
class Seen:
    """By perspective code, the source address that the applicant (`target`) or the attacker saw."""

    target: dict[str, str] = field(default_factory=dict)
    attacker: dict[str, str] = field(default_factory=dict)

    def add(self, server: str, source: str) -> None:
        """One request of `source` at `server`; sources that are no perspective's are not counted."""
        code = _OWNERS.get(source)
        if code is not None:
            (self.attacker if server == ATTACKER else self.target)[code] = source


@contextlib.contextmanager
def at_web_servers(lab: Lab, host: str) -> Iterator[Seen]:
    """Who asks web servers for `host` while the block runs, by their access logs."""
    seen = Seen()
    before = {server: len(lab.requests_seen(host, server)) for server in topology.WEB_ADDRESSES}
    yield seen
    # A log line is written just after the client has its answer.
    settle_until = time.monotonic() + 0.3
    while time.monotonic() < settle_until:
        time.sleep(0.05)
    for server, count in before.items():
        for request in lab.requests_seen(host, server)[count:]:
            seen.add(server, request.source)


@contextlib.contextmanager
def at_name_servers(lab: Lab, server: str) -> Iterator[Seen]:
    """Who asks the name servers of `server` and of the attacker while the block runs, by packets on their wires."""
    seen = Seen()
    with contextlib.ExitStack() as stack:
        captures = {
            name: stack.enter_context(lab.capture(topology.SYSTEM_BY_NAME[name].namespace, "any", "dst port 53"))
            for name in (server, ATTACKER)
        }
        yield seen
    for name, capture in captures.items():
        for question in capture.questions():
            if question.destination in map(str, topology.DNS_ADDRESSES[server]):
                seen.add(name, question.source)
