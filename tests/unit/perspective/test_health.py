"""Ready is who knows: a resolver that trusts no root, or of which that is not known, makes nobody ready."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from appliance.config.schema import TimeLimits
from appliance.model.health import WorkerStatus
from appliance.model.observation import DnssecStatus, Lookup
from appliance.net.dns.resolver import Asks, Reply
from appliance.perspective import health
from appliance.perspective.anchors import Anchors
from appliance.perspective.assignment import Assignment
from appliance.perspective.confinement import Findings
from appliance.perspective.guard import Guard, View
from appliance.perspective.health import Health

ASSIGNED = Assignment("ams", "mpic-perspective", "wg0", (), True, 1280, frozenset({"198.18.0.1"}))


class Confined:
    moved = False
    own_inode = 1

    def look(self) -> View:
        return View(Findings(), 0)


class Seen:
    def addresses(self) -> tuple[str, ...]:
        return ("198.18.0.1",)

    def authenticated_addresses(self) -> tuple[str, ...]:
        return ()

    def seen_at(self) -> str | None:
        return None

    def reasons(self) -> tuple[str, ...]:
        return ()

    async def ask_all(self) -> None: ...


class Resolver:
    """Says of the root's keys what `says` gives next; the last one again and again."""

    def __init__(self, *says: DnssecStatus) -> None:
        self.says = list(says)

    async def query(self, name: str, rdtype: str) -> Reply:
        status = DnssecStatus.INSECURE
        if (name, rdtype) == (".", "DNSKEY"):
            status = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        return Reply(Lookup(name, rdtype, "NOERROR", ad=False, dnssec=status))

    async def addresses(self, name: str) -> tuple[Reply, Reply]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    async def probe(_: Assignment) -> int:
        return 1000

    async def flush(_path: Path, _timeout_s: float) -> None: ...

    monkeypatch.setattr(health, "probe", probe)
    monkeypatch.setattr(health, "flush_infrastructure", flush)


async def statuses(resolver: Resolver, until_ready: bool) -> list[WorkerStatus]:
    """What is told until it is ready, or until the root was asked about three times."""
    told: list[WorkerStatus] = []
    limits = TimeLimits(probe_interval_s=0.1)
    one = Health(
        ASSIGNED, limits, cast("Guard", Confined()), cast("Anchors", Seen()), cast("Asks", resolver), Path("/nowhere"),
        changed=told.append, broken=lambda: None,
    )  # fmt: skip
    told.append(one.status)
    running = asyncio.create_task(one.run())
    try:
        for _ in range(3000):
            if one.status.ready if until_ready else len(resolver.says) == 1:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
    finally:
        running.cancel()
    return told


@pytest.mark.parametrize("says", [DnssecStatus.INSECURE, DnssecStatus.BOGUS, DnssecStatus.INDETERMINATE])
async def test_without_the_roots_key_there_is_no_moment_of_readiness(says: DnssecStatus) -> None:
    told = await statuses(Resolver(says, says, says), until_ready=False)
    assert not any(status.ready for status in told)
    assert all("resolver: " in status.root_anchor_problem for status in told if status.root_anchor_problem)


async def test_ready_as_soon_as_the_root_is_known_to_be_trusted() -> None:
    told = await statuses(Resolver(DnssecStatus.INDETERMINATE, DnssecStatus.SECURE), until_ready=True)
    assert [status.ready for status in told].index(True) > 0
    assert told[-1].ready


async def test_no_answer_tells_nothing_new() -> None:
    told = await statuses(Resolver(DnssecStatus.SECURE, DnssecStatus.INDETERMINATE), until_ready=True)
    assert told[-1].ready
