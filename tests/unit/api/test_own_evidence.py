"""`GET /evidence`: every caller has what it asked itself, whole and in order, and nothing of anybody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import update

from appliance.api import own_evidence
from appliance.evidence.actor import actor_of
from appliance.evidence.record import DecisionRecord, EventRecord, EventType, utc_text
from appliance.evidence.schema import RECORDS, writing_engine
from appliance.evidence.writer import EvidenceWriter
from appliance.model.observation import Outcome
from tests.unit.api.authority import Authority
from tests.unit.api.listeners import add, add_client, api, free_port, mutual_tls, revoke_client
from tests.unit.api.serving import Serving, serving
from tests.unit.coordinator.workers import NOW
from tests.unit.evidence.samples import decision, observation


def checked(caller: str, number: int) -> EventRecord:
    """A check of one perspective. The body tries to pass for somebody else's."""
    body = '{"caller":"certificate other"}["caller","certificate other"]'
    return EventRecord(
        time=utc_text(NOW),
        type=EventType.PERSPECTIVE_CHECK,
        actor=actor_of(),
        subject="ams",
        facts=(("caller", caller), ("body", body)),
        trace_id=f"{caller}-{number}",
        identifier="example.com",
    )


def decided(caller: str, number: int) -> DecisionRecord:
    record = decision(number)
    return msgspec.structs.replace(record, request=msgspec.structs.replace(record.request, caller=caller))


async def keep(on: Serving, *records: EventRecord | DecisionRecord) -> None:
    writer = EvidenceWriter.open(on.settings.database)
    for record in records:
        await writer.submit(record)
    await writer.close()


async def pages(client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    after, more = 0, True
    while more:
        response = await client.get("/evidence", params={"after": after})
        assert response.status_code == 200, response.text
        page = response.json()
        assert page["after"] > after or not page["more"]
        after, more = page["after"], page["more"]
        yield page


@asynccontextmanager
async def by_key(directory: Path) -> AsyncIterator[tuple[Serving, httpx.AsyncClient]]:
    """A served API with API keys on loopback, and a client of it that has none yet."""
    port = free_port()
    async with (
        serving(directory, api=api(directory, port=port, authentication="api-key")) as on,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
    ):
        yield on, client


async def numbers(client: httpx.AsyncClient) -> list[int]:
    return [one["seq"] async for page in pages(client) for one in page["records"]]


async def test_partners_see_their_own_checks_alone(tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    partners = {name: authority.issue(name) for name in ("partner", "other")}

    def client(name: str) -> httpx.AsyncClient:
        context = authority.client_context(partners[name])
        return httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=context, timeout=20, trust_env=False)

    async with serving(tmp_path, api=mutual_tls(tmp_path, authority, port)) as on:
        for name, pair in partners.items():
            await add_client(on, name, pair, perspectives=["ams"])
        await keep(on, checked("certificate partner", 1), checked("certificate other", 2), decided("unix uid 7", 3))
        await keep(on, checked("certificate partner", 4), checked("api-key partner", 5))
        async with client("partner") as partner, client("other") as other:
            assert await numbers(partner) == [1, 4]
            assert await numbers(other) == [2]
            [first, second] = [one async for page in pages(partner) for one in page["records"]]
            assert first["record"]["facts"][0] == ["caller", "certificate partner"]
            assert second["record"]["trace_id"] == "certificate partner-4"
            assert (await partner.get("/evidence", params={"after": 1})).json()["records"][0]["seq"] == 4
            await revoke_client(on, "partner")
            assert (await partner.get("/evidence")).status_code == 403


async def test_what_a_target_sent_passes_for_no_caller(tmp_path: Path) -> None:
    """Strings that a target sent stand in arrays, and an array of two may be spelled as a fact is."""
    async with by_key(tmp_path) as (on, client):
        client.headers["x-api-key"] = (await add(on, "bob"))["key"]
        seen = observation("ams", "bob.example", Outcome.MATCH, NOW)
        seen = msgspec.structs.replace(seen, seen=("caller", "api-key bob"))
        others = msgspec.structs.replace(checked("api-key alice", 1), observation=seen)
        own = msgspec.structs.replace(checked("api-key bob", 2), observation=seen)
        nobodys = msgspec.structs.replace(own, facts=(*own.facts, ("caller", "api-key alice")))
        await keep(on, others, own, nobodys, decided("api-key bob", 3))
        assert await numbers(client) == [2, 4]


@pytest.mark.parametrize("record", [b'["caller","api-key bob"]', b'{"type":"\xff","caller":["caller","api-key bob"]}'])
async def test_a_damaged_record_is_shown_to_nobody(tmp_path: Path, record: bytes) -> None:
    async with by_key(tmp_path) as (on, client):
        client.headers["x-api-key"] = (await add(on, "bob"))["key"]
        await keep(on, checked("api-key bob", 1))
        with writing_engine(on.settings.database).begin() as connection:
            connection.execute(update(RECORDS).values(record=record))
        assert (await client.get("/evidence")).status_code == 503


async def test_a_ca_sees_its_decisions(tmp_path: Path) -> None:
    async with by_key(tmp_path) as (on, client):
        client.headers["x-api-key"] = (await add(on, "ca"))["key"]
        await keep(on, decided("api-key ca", 1), decided("api-key ca2", 2), checked("api-key ca", 3))
        assert await numbers(client) == [1, 3]


async def test_long_stores_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with by_key(tmp_path) as (on, client):
        client.headers["x-api-key"] = (await add(on, "ca"))["key"]
        await keep(on, *(checked("api-key ca" if number % 5 else "api-key x", number) for number in range(40)))
        own = [number + 1 for number in range(40) if number % 5]
        monkeypatch.setattr(own_evidence, "_SPAN", 7)
        assert await numbers(client) == own
        monkeypatch.setattr(own_evidence, "_MOST_BYTES", 1)
        assert await numbers(client) == own


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=", "after", "after=1&after=2", "upto=3", f"after={10**18}", "=&"]
)
async def test_what_is_no_number_is_a_400(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path) as on:
        response = await on.callers.get(f"/evidence?{query}")
        assert response.status_code == 400
        assert response.json()["validation_issues"]
        assert (await on.callers.get("/evidence?")).json() == {"records": [], "after": 0, "more": False}
