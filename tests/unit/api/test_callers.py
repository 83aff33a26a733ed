"""Who may call on TCP, as callers and strangers on it see it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
import stat
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.api.callers import register
from appliance.api.callers.limits import Limiter
from appliance.api.callers.register import Register
from appliance.api.errors import HttpError
from appliance.config import CallerLimits, TimeLimits, load
from appliance.errors import ConfigError, EvidenceUnavailable
from appliance.evidence.record import EventType
from tests.lab.appliance_files import toml
from tests.unit.api.authority import Authority, Pair
from tests.unit.api.listeners import add, add_client, api, events, free_port, mutual_tls, revoke_client
from tests.unit.api.serving import CAA, serving
from tests.unit.coordinator.configuration import document
from tests.unit.coordinator.workers import eventually, silent


async def test_loopback_asks_for_an_api_key(tmp_path: Path) -> None:
    port = free_port()
    async with (
        serving(tmp_path, api=api(tmp_path, port=port, authentication="api-key")) as on,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
    ):
        assert (await client.get("/healthz")).status_code == 200
        for path in ("/readyz", "/nothing", "/callers"):
            assert (await client.get(path)).status_code == 401
        refused = await client.post("/mpic", json=CAA)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        key = (await add(on, "ejbca"))["key"]
        for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
            assert (await client.post("/mpic", json=CAA, headers=headers)).json()["is_valid"] is True
            assert (await client.get("/callers", headers=headers)).status_code == 404
        for wrong in ("", "mpic_", key[:-1], key + "x", key.replace("mpic", "cipm"), "mpic_00000000_" + key[14:], "é"):
            answer = await client.post("/mpic", json=CAA, headers=[(b"x-api-key", wrong.encode())])
            assert answer.status_code == 401
        revoked = await on.operators.post("/callers/revoke", json={"name": "ejbca", "kind": "api-key"})
        assert revoked.status_code == 200
        assert (await client.post("/mpic", json=CAA, headers={"x-api-key": key})).status_code == 401
        assert [event.message for event in events(on, EventType.CREDENTIAL)] == ["added", "revoked"]
        metrics = (await on.operators.get("/metrics")).text
        assert 'mpic_requests_refused_total{reason="http-401"} 12' in metrics
        # One record for each reason, however often it is tried.
        assert sorted(event.message for event in events(on, EventType.REFUSED_CALLER)) == [
            "an API key that is unknown, or revoked",
            "no API key",
        ]


async def test_keys_are_kept_as_hashes_only_and_survive_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        key = (await add(on, "ca", requests_per_s=5))["key"]
        assert (await on.operators.post("/callers", json={"name": "ca", "kind": "api-key"})).status_code == 409
        listed = (await on.operators.get("/callers")).text
        path = on.settings.coordinator_directory / "callers.json"
        assert key not in path.read_text() + listed
        assert key.split("_", 2)[2] not in path.read_text() + listed
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        again = Register(path)
        assert again.by_key(key) == again.entries[0]
        assert again.by_key(key + "x") is None
        assert again.entries[0].requests_per_s == 5
        path.write_text("[{}]")
        with pytest.raises(ConfigError, match="not a register"):
            Register(path)


_REVOKED = {"name": "thief", "kind": "api-key"}


def _full(*_args: object, **_options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def _stolen(key: str, port: int) -> int:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
        return (await client.post("/mpic", json=CAA, headers={"x-api-key": key})).status_code


async def test_a_full_disk_keeps_no_stolen_key_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    async with serving(tmp_path, api=api(tmp_path, port=port, authentication="api-key")) as on:
        path = on.settings.coordinator_directory / "callers.json"
        key = (await add(on, "thief"))["key"]
        assert await _stolen(key, port) == 200
        with monkeypatch.context() as disk:
            disk.setattr(register, "write_atomically", _full)
            on.stage.evidence.failing = EvidenceUnavailable("disk full")
            for lacks in (["a restart would undo it", "not on record"], ["a restart would undo it"]):
                told = await on.operators.post("/callers/revoke", json=_REVOKED)
                assert told.status_code == 503
                assert all(words in told.json()["error"] for words in ["in force", *lacks])
                assert await _stolen(key, port) == 401
                on.stage.evidence.failing = None
            # Adding is durable first, as ever.
            assert (await on.operators.post("/callers", json={"name": "new", "kind": "api-key"})).status_code == 503
            assert Register(path).by_key(key) is not None, "the disk took nothing"
        assert (await on.operators.post("/callers/revoke", json=_REVOKED)).status_code == 200
        assert Register(path).by_key(key) is None
        assert (await on.operators.post("/callers/revoke", json=_REVOKED)).status_code == 404
        assert [event.message for event in events(on, EventType.CREDENTIAL)] == ["added", "revoked"]


@pytest.mark.parametrize("next_write", ["add", "stop"])
async def test_what_the_disk_did_not_take_it_takes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, next_write: str
) -> None:
    async with serving(tmp_path) as on:
        path = on.settings.coordinator_directory / "callers.json"
        key = (await add(on, "thief"))["key"]
        with monkeypatch.context() as disk:
            disk.setattr(register, "write_atomically", _full)
            assert (await on.operators.post("/callers/revoke", json=_REVOKED)).status_code == 503
        if next_write == "add":
            await add(on, "thief")
            assert Register(path).by_key(key) is None
    assert Register(path).by_key(key) is None


@pytest.mark.parametrize(
    "form",
    [
        {"name": "", "kind": "api-key"},
        {"name": "a", "kind": "password"},
        {"name": "a", "kind": "certificate"},
        {"name": "a", "kind": "certificate", "certificate": "none"},
        {"name": "a", "kind": "api-key", "perspectives": ["moon"]},
        {"name": "a", "kind": "api-key", "requests_per_s": 0},
    ],
)
async def test_what_cannot_be_registered(tmp_path: Path, form: dict[str, Any]) -> None:
    async with serving(tmp_path) as on:
        assert (await on.operators.post("/callers", json=form)).status_code == 400
        assert (await on.operators.post("/callers/revoke", json={"name": "b", "kind": "api-key"})).status_code == 404
        assert events(on, EventType.CREDENTIAL) == []


@pytest.mark.parametrize(
    ("listener", "rule"),
    [
        ({}, "api.tcp.0.authentication: required"),
        ({"authentication": "none"}, "api.tcp.0.authentication: Input should be"),
        ({"address": "192.0.2.1", "authentication": "api-key"}, 'api.tcp.0.authentication: must be "mutual-tls"'),
        ({"address": "::", "authentication": "api-key"}, 'api.tcp.0.authentication: must be "mutual-tls"'),
        ({"authentication": "mutual-tls"}, "api.tcp.0.client_ca_file: required"),
        ({"authentication": "api-key", "certificate_file": "/x"}, "api.tcp.0.certificate_file: goes with"),
        ({"authentication": "api-key", "client_ca_file": "/x"}, "api.tcp.0.client_ca_file: only with"),
    ],
)
def test_tcp_without_authentication_does_not_start(tmp_path: Path, listener: dict[str, Any], rule: str) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text(toml(document(tmp_path) | {"api": api(tmp_path, port=8443, **listener)}))
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert any(line.startswith(f"{path}: {rule}") for line in refused.value.problems)


async def test_mutual_tls(tmp_path: Path) -> None:
    authority, strangers = Authority(tmp_path), Authority(tmp_path, "strangers")
    partner, port = authority.issue("partner"), free_port()

    async def post(pair: Pair | None) -> httpx.Response:
        context = authority.client_context(pair)
        async with httpx.AsyncClient(verify=context, timeout=20, trust_env=False) as client:
            return await client.post(f"https://127.0.0.1:{port}/mpic", json=CAA)

    async with serving(tmp_path, api=mutual_tls(tmp_path, authority, port)) as on:
        await _no_answer(post, None)
        await _no_answer(post, strangers.issue("unknown"))
        await _no_answer(post, authority.issue("expired", lifetime=timedelta(days=-1)))
        await _no_answer(post, partner)
        assert all(not worker.asked for worker in on.stage.workers.values())
        await add_client(on, "partner", partner)
        answer = await post(partner)
        assert answer.json()["is_valid"] is True
        await revoke_client(on, "partner")
        await _no_answer(post, partner)
        reasons = [event.message for event in events(on, EventType.REFUSED_CALLER)]
        assert len(reasons) == 4
        metrics = (await on.operators.get("/metrics")).text
        assert 'mpic_requests_refused_total{reason="tls"} 3' in metrics
        assert 'mpic_requests_refused_total{reason="certificate"} 2' in metrics
        assert any("PEER_DID_NOT_RETURN_A_CERTIFICATE" in reason for reason in reasons)
        assert any("expired" in reason for reason in reasons)
        assert any("unable to get local issuer" in reason or "self-signed" in reason for reason in reasons)
        assert any("not registered, or revoked" in reason for reason in reasons)
        old = authority.client_context(partner)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient(verify=old, trust_env=False) as client:
                await client.get(f"https://127.0.0.1:{port}/healthz")


async def _no_answer(post: Any, pair: Pair | None) -> None:
    with pytest.raises(httpx.TransportError):
        await post(pair)


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(tmp_path: Path) -> None:
    authority, port = Authority(tmp_path), free_port()
    partner = authority.issue("partner")

    def in_one_piece() -> bytes:
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = authority.client_context(partner).wrap_bio(received, sent, server_hostname="127.0.0.1")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(sent.read())
                    received.write(sock.recv(65536))
            tls.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            sock.sendall(sent.read())
            while True:
                try:
                    return tls.read(65536)
                except ssl.SSLWantReadError:
                    data = sock.recv(65536)
                    if not data:
                        return b""
                    received.write(data)

    async with serving(tmp_path, api=mutual_tls(tmp_path, authority, port)) as on:
        await add_client(on, "partner", partner)
        assert (await asyncio.to_thread(in_one_piece)).startswith(b"HTTP/1.1 200 ")


async def test_a_revoked_certificate_loses_its_open_connections(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    partner, port = authority.issue("partner"), free_port()
    async with (
        serving(tmp_path, api=mutual_tls(tmp_path, authority, port)) as on,
        httpx.AsyncClient(verify=authority.client_context(partner), timeout=20, trust_env=False) as client,
    ):
        await add_client(on, "partner", partner, perspectives=["ams"])
        url = f"https://127.0.0.1:{port}"
        assert (await client.get(f"{url}/perspectives/ams")).json()["ready"] is True
        for path in ("/perspectives/nyc", "/mpic", "/readyz"):
            assert (await client.get(url + path)).status_code == 403
        await revoke_client(on, "partner")
        assert (await client.get(f"{url}/perspectives/ams")).status_code == 403
        with pytest.raises(httpx.TransportError):
            await client.get(f"{url}/perspectives/ams")


def test_the_rate_of_one_caller_is_not_that_of_another() -> None:
    now_s = 100.0
    limiter = Limiter(lambda: now_s)
    limits = CallerLimits(requests_per_s=2, burst=3, concurrent=2)

    def ask(caller: str) -> int:
        try:
            with limiter.one_request(caller, limits):
                return 200
        except HttpError as error:
            return error.status if dict(error.headers)[b"retry-after"] == b"1" else 0

    assert [ask("one") for _ in range(4)] == [200, 200, 200, 429]
    assert ask("other") == 200
    now_s += 0.5
    assert [ask("one") for _ in range(2)] == [200, 429]
    with limiter.one_request("third", limits), limiter.one_request("third", limits):
        assert ask("third") == 429
    assert ask("third") == 200


async def test_a_caller_is_told_to_come_back(tmp_path: Path) -> None:
    port = free_port()
    async with (
        serving(tmp_path, limits=SLOW, api=api(tmp_path, port=port, authentication="api-key")) as on,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
    ):
        headers = {"x-api-key": (await add(on, "small", concurrent=1))["key"]}
        on.stage.script(silent, "ams")
        first = asyncio.create_task(client.post("/mpic", json=CAA, headers=headers))
        await eventually(lambda: bool(on.stage.workers["ams"].asked), "the first is under way")
        second = await client.post("/mpic", json=CAA, headers=headers)
        assert second.status_code == 429
        assert second.headers["retry-after"] == "1"
        assert (await on.callers.get("/healthz")).status_code == 200
        assert (await first).status_code == 200


SLOW = TimeLimits(check_s=2, answer_s=3, straggler_s=1)


async def test_a_thousand_requests_at_once_are_answered_or_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as on:
        on.stage.script(silent, "ams")
        on.stage.workers["ams"].answers_cancel = False

        body = json.dumps(CAA).encode()
        head = b"POST /mpic HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)

        async def ask() -> int:
            answer = await on.raw(head + body)
            status = int(answer.split(b" ", 2)[1])
            assert status == 200 or b"\r\nretry-after: 1\r\n" in answer
            return status

        statuses = Counter(await asyncio.gather(*(ask() for _ in range(1000))))
        assert set(statuses) == {200, 503}
        assert statuses[200] >= 8
        # What was refused was asked of nobody.
        assert len(on.stage.workers["nyc"].asked) == statuses[200]
        assert (await on.callers.post("/mpic", json=CAA)).status_code == 200
