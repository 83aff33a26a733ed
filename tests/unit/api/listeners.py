"""TCP listeners of a served API, those who may call there, and what its evidence says of them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from appliance.evidence.record import EventRecord, EventType
from tests.unit.api.authority import Authority, Pair
from tests.unit.api.serving import Serving
from tests.unit.coordinator.configuration import document


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def api(directory: Path, **listener: object) -> dict[str, Any]:
    """The configuration's table `api` with one listener on loopback."""
    configured: dict[str, Any] = document(directory)["api"]
    return configured | {"tcp": [{"address": "127.0.0.1"} | listener]}


def mutual_tls(directory: Path, authority: Authority, port: int) -> dict[str, Any]:
    """As `api`; the server's certificate and those of the clients are of `authority`."""
    server = authority.issue("server")
    return api(
        directory,
        port=port,
        authentication="mutual-tls",
        certificate_file=str(server.certificate),
        private_key_file=str(server.key),
        client_ca_file=str(authority.certificate),
    )


async def add(on: Serving, name: str, **form: object) -> dict[str, Any]:
    """Registers a caller, with an API key where `form` says nothing else."""
    response = await on.operators.post("/callers", json={"name": name, "kind": "api-key"} | form)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def add_client(on: Serving, name: str, pair: Pair, **form: object) -> dict[str, Any]:
    """Registers the certificate of `pair`."""
    return await add(on, name, kind="certificate", certificate=pair.pem, **form)


async def revoke_client(on: Serving, name: str) -> None:
    """As `mpicctl client revoke` does."""
    response = await on.operators.post("/callers/revoke", json={"name": name, "kind": "certificate"})
    assert response.status_code == 200, response.text


def events(on: Serving, kind: EventType) -> list[EventRecord]:
    return [one for one in on.stage.evidence.records if isinstance(one, EventRecord) and one.type is kind]
