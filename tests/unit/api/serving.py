"""The API on real Unix sockets over a coordinator with scripted workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from os import getgid
from pathlib import Path
from typing import Any

import httpx
import msgspec

from appliance.api.front import Front
from appliance.api.own_evidence import OwnEvidence
from appliance.api.perspective import PerspectiveApi
from appliance.api.routes import Api
from appliance.config import Settings, TimeLimits
from appliance.coordinator.drains import Drains, DrainStore
from appliance.coordinator.status import StatusView
from appliance.errors import BadRequest
from appliance.evidence.ledger import Segment
from appliance.evidence.record import Actor
from appliance.evidence.writer import EvidenceWriter
from appliance.model.check import AcmeHttp01Check, CheckRequest
from appliance.model.identifier import Identifier, IdentifierType
from appliance.net.validatable import Exceptions
from tests.unit.coordinator.configuration import settings
from tests.unit.coordinator.workers import CODES, QUICK, Stage, stage

CAA: dict[str, Any] = {
    "check_type": "caa",
    "domain_or_ip_target": "example.com",
    "trace_identifier": "ac2d0392-8699-4037-a0e0-0a6db1ff8b89",
}
HTTP_01: dict[str, Any] = {
    "check_type": "dcv",
    "domain_or_ip_target": "example.com",
    "dcv_check_parameters": {"validation_method": "acme-http-01", "token": "abc", "key_authorization": "abc.def"},
}
DNS_01: dict[str, Any] = {
    "check_type": "dcv",
    "domain_or_ip_target": "*.example.com",
    "dcv_check_parameters": {
        "validation_method": "acme-dns-01",
        "key_authorization_hash": "ghRCE7ZwHKjsEHvFqGPnZpHcVwzV7cwFJrYmuFxAWcU",
    },
}

NAME = Identifier(IdentifierType.DNS, "example.com", wildcard=False, requested="example.com")
ASKED = CheckRequest("r-1", "ams", NAME, AcmeHttp01Check("abc", "abc.def"), 1500)


def built(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(ASKED)
    return document | changes


@dataclass
class Serving:
    """A served API. `callers` and `operators` are clients on its two sockets."""

    settings: Settings
    stage: Stage
    api: Api
    server: Front
    callers: httpx.AsyncClient
    operators: httpx.AsyncClient

    async def raw(self, data: bytes, *, end: bool = False) -> bytes:
        """What the callers' socket answers to `data` until it closes the connection; `end`: half-close after it."""
        reader, writer = await asyncio.open_unix_connection(str(self.settings.api.socket))
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                if end:
                    writer.write_eof()
                await writer.drain()
            async with asyncio.timeout(20):
                return await _until_closed(reader)
        finally:
            writer.close()


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            data += chunk
    return data


class KeepsAll:
    """A store in which everything is too young to be pruned, but for the year 2000, of which there is nothing."""

    async def prune(self, before: datetime, now: datetime, actor: Actor) -> Segment | None:
        if before.year != 2000:
            raise BadRequest("before", f"records must be kept; asked by {actor.uid} at {now.year}")
        return None


@contextlib.asynccontextmanager
async def serving(directory: Path, *, limits: TimeLimits = QUICK, **changes: object) -> AsyncIterator[Serving]:
    """Both sockets, listening."""
    changes.setdefault("users", {"api_group": getgid(), "operator_group": getgid()})
    configured = settings(directory, **changes)
    async with stage(directory, limits=limits, clock_rules=configured.clock) as on:
        drains = Drains(on.coordinator, DrainStore(directory / "drained.json"))
        view = StatusView(configured, on.coordinator, drains, "00" * 32)
        api = Api(configured, on.coordinator, view, KeepsAll(), drains)
        configured.coordinator_directory.mkdir(parents=True, exist_ok=True)
        configured.database.parent.mkdir(parents=True, exist_ok=True)
        await EvidenceWriter.open(configured.database).close()
        codes = ("home", *CODES)
        shared = PerspectiveApi(
            on.coordinator.perspectives,
            codes,
            on.evidence,
            on.coordinator.time,
            check_s=2,
            most=8,
            metrics=api.metrics,
            objection=on.coordinator.objection,
            asking=on.coordinator.asking,
            exceptions=Exceptions.of(configured.targets),
        ).routes()
        server = Front(configured, on.evidence, on.coordinator.clock.now, frozenset(codes), api.metrics.refusals)
        shared = {**shared, **OwnEvidence(configured.database).routes()}
        await server.open({**api.callers(), **shared}, {**api.operators(), **shared})
        async with _client(configured.api.socket) as callers, _client(configured.api.operator_socket) as operators:
            try:
                yield Serving(configured, on, api, server, callers, operators)
            finally:
                await server.close(5)


def _client(socket: Path) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    return httpx.AsyncClient(transport=transport, base_url="http://mpic", timeout=20, trust_env=False)
