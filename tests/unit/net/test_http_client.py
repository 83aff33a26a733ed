"""The HTTP client against scripted and hostile servers: what the server saw, what is believed, what ends when."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from pathlib import Path

import pytest

from appliance.model.observation import CheckError
from appliance.net.http.client import MAX_REDIRECTS, HttpLimits, request_bytes
from appliance.net.http.exchange import MAX_HEAD_BYTES, Answer
from appliance.net.http.url import parse
from appliance.net.trace import StepFailed, Trace
from tests.unit.net.web import V4, V6, FakeResolver, Handler, Loopback, answering, client, listening

NAMES: dict[tuple[str, str], list[str] | CheckError | list[bytes]] = {("n.example", "A"): [V4]}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nvalue"


async def get(
    handler: Handler, *, url: str = "http://n.example/x", cap: int = 1000, limits: HttpLimits | None = None
) -> tuple[Answer | StepFailed, Trace]:
    trace = Trace()
    async with listening(handler) as port:
        http = client(FakeResolver(NAMES), Loopback({(V4, 80): port, (V4, 443): port}), limits=limits)
        try:
            return (await http.get(parse(url), (), cap, trace))[0], trace
        except StepFailed as failed:
            return failed, trace


async def failure(handler: Handler, *, cap: int = 1000, limits: HttpLimits | None = None) -> CheckError:
    answer, trace = await get(handler, cap=cap, limits=limits)
    assert isinstance(answer, StepFailed), answer
    assert trace.hops[-1].error == answer.error
    return answer.error


async def body(*pieces: bytes, cap: int = 1000) -> bytes:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()

    answer, _ = await get(handle, cap=cap)
    assert isinstance(answer, Answer), answer
    return answer.body


async def test_what_the_server_sees() -> None:
    requests: list[bytes] = []
    answer, trace = await get(answering(OK, requests=requests))
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, b"value")
    assert requests == [
        b"GET /x HTTP/1.1\r\nHost: n.example\r\nUser-Agent: agent/1\r\nAccept: */*\r\n"
        b"Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ]
    hop = trace.hops[0].frozen()
    assert (hop.url, hop.status, hop.body_length, hop.body_prefix) == ("http://n.example/x", 200, 5, "value")
    assert [(c.address, c.port, c.connected) for c in hop.connections] == [(V4, 80, True)]
    assert [lookup.type for lookup in trace.lookups] == ["AAAA", "A"]


async def test_ipv6_first_then_ipv4_where_no_connection_could_be_made() -> None:
    for six_is_up in (True, False):
        async with listening(answering(OK)) as port:
            connector = Loopback({(V4, 80): port} | ({(V6, 80): port} if six_is_up else {}))
            trace = Trace()
            table: dict[tuple[str, str], list[str] | CheckError | list[bytes]] = {
                ("n.example", "A"): [V4, "198.18.0.9"],
                ("n.example", "AAAA"): [V6],
            }
            await client(FakeResolver(table), connector).get(parse("http://n.example/"), (), 100, trace)
        assert connector.connected == [(V6, 80)] if six_is_up else [(V6, 80), (V4, 80)]
        assert [c.connected for c in trace.hops[0].connections] == ([True] if six_is_up else [False, True])


async def test_a_stall_after_connecting_does_not_fall_back() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(stall) as port:
        connector = Loopback({(V6, 80): port, (V4, 80): port})
        table: dict[tuple[str, str], list[str] | CheckError | list[bytes]] = {
            ("n.example", "A"): [V4],
            ("n.example", "AAAA"): [V6],
        }
        http = client(FakeResolver(table), connector, limits=HttpLimits(1, 1, 0.05))
        with pytest.raises(StepFailed) as failed:
            await http.get(parse("http://n.example/"), (), 100, Trace())
    assert failed.value.error.code == "http.head.timeout"
    assert connector.connected == [(V6, 80)]


@pytest.mark.parametrize(
    "literal", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[64:ff9b::7f00:1]"]
)
async def test_a_special_purpose_literal_is_never_connected_to(literal: str) -> None:
    connector = Loopback({})
    with pytest.raises(StepFailed) as failed:
        await client(FakeResolver({}), connector).get(parse(f"http://{literal}/"), (), 100, Trace())
    assert failed.value.error.code == "address.refused"
    assert connector.connected == []


async def test_a_name_with_special_purpose_addresses_is_not_either() -> None:
    connector = Loopback({})
    table: dict[tuple[str, str], list[str] | CheckError | list[bytes]] = {
        ("n.example", "A"): ["127.0.0.1", "10.0.0.1"],
        ("n.example", "AAAA"): ["::1", "2002:7f00:1::", "64:ff9b::7f00:1", "fe80::1"],
    }
    trace = Trace()
    with pytest.raises(StepFailed) as failed:
        await client(FakeResolver(table), connector).get(parse("http://n.example/"), (), 100, trace)
    assert failed.value.error.code == "address.refused"
    assert connector.connected == []
    assert all(c.error is not None and not c.connected for c in trace.hops[0].connections)


async def test_each_hop_is_resolved_and_refused_anew() -> None:
    resolver = FakeResolver(dict(NAMES))
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        resolver.table[("n.example", "A")] = ["127.0.0.1"]
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with listening(handle) as port:
        connector = Loopback({(V4, 80): port})
        with pytest.raises(StepFailed) as failed:
            await client(resolver, connector).get(parse("http://n.example/"), (), 100, Trace())
    assert failed.value.error.code == "address.refused"
    assert connector.connected == [(V4, 80)]
    assert len(requests) == 1


async def test_redirects_are_followed_to_the_final_value_of_location() -> None:
    requests: list[bytes] = []
    hops = [b"//n.example/a/b?c", b"../d#frag", b"http://n.example:443/e", b"./f"]
    statuses = [301, 302, 307, 308]
    responses = [
        b"HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % pair
        for pair in zip(statuses, hops, strict=True)
    ]
    answer, trace = await get(answering(*responses, OK, requests=requests))
    assert isinstance(answer, Answer), answer
    assert answer.body == b"value"
    seen = [request.split(b"\r\n")[:2] for request in requests]
    assert seen == [
        [b"GET /x HTTP/1.1", b"Host: n.example"],
        [b"GET /a/b?c HTTP/1.1", b"Host: n.example"],
        [b"GET /d HTTP/1.1", b"Host: n.example"],
        [b"GET /e HTTP/1.1", b"Host: n.example:443"],
        [b"GET /f HTTP/1.1", b"Host: n.example:443"],
    ]
    assert [hop.status for hop in trace.hops] == [*statuses, 200]
    assert trace.hops[1].location == "../d#frag"


@pytest.mark.parametrize("status", [300, 303, 304, 305, 306])
async def test_other_redirects_are_final(status: int) -> None:
    answer, trace = await get(answering(b"HTTP/1.1 %d X\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n" % status))
    assert isinstance(answer, Answer)
    assert answer.status == status
    assert len(trace.hops) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (b"Location: /x\r\n", "http.redirect.loop"),
        (b"Location: HTTP://N.example:80/x#y\r\n", "http.redirect.loop"),
        (b"", "http.redirect.location"),
        (b"Location: /a\r\nLocation: /b\r\n", "http.redirect.location"),
        (b"Location: http://127.0.0.1/\r\n", "address.refused"),
        (b"Location: http://2130706433/\r\n", "http.redirect.refused"),
        (b"Location: http://n.example:8080/\r\n", "http.redirect.refused"),
        (b"Location: ftp://n.example/\r\n", "http.redirect.refused"),
        (b"Location: http://a@n.example/\r\n", "http.redirect.refused"),
        (b"Location: http://m.example/\r\n", "dns.no-address"),
    ],
)
async def test_refused_redirects(fields: bytes, code: str) -> None:
    error = await failure(answering(b"HTTP/1.1 302 Found\r\n" + fields + b"Content-Length: 5\r\n\r\nvalue"))
    assert error.code == code


async def test_at_most_ten_redirects() -> None:
    responses = [b"HTTP/1.1 302 F\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n" % i for i in range(MAX_REDIRECTS)]
    answer, trace = await get(answering(*responses, OK))
    assert isinstance(answer, Answer)
    assert len(trace.hops) == 11
    eleven = [*responses, b"HTTP/1.1 302 F\r\nLocation: /z\r\nContent-Length: 0\r\n\r\n", OK]
    assert (await failure(answering(*eleven))).code == "http.redirect.too-many"


async def test_bodies_are_read_whole_however_they_come() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    assert await body(head + b"Content-Length: 5\r\n\r\n", b"va", b"lue") == b"value"
    assert await body(*[bytes([b]) for b in head + b"Content-Length: 5\r\n\r\nvalue"]) == b"value"
    assert (
        await body(head + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nva\r\n", b"3;x=y\r\nlue\r\n0\r\nT: u\r\n\r\n")
        == b"value"
    )
    assert await body(head + b"\r\n", b"va", b"lue") == b"value"
    assert await body(b"HTTP/1.0 200 OK\r\n\r\n", b"value") == b"value"
    assert await body(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", OK) == b"value"
    assert await body(head + b"\r\n", b"\xff\x00\xfe") == b"\xff\x00\xfe"


async def test_nothing_is_decompressed_and_the_cap_holds() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    assert await body(head, bomb, cap=500) == bomb[:500]
    answer, trace = await get(answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 5000), cap=500)
    assert isinstance(answer, Answer)
    assert (answer.body_cut, len(answer.body)) == (True, 500)
    assert trace.hops[0].frozen().body_length == 500


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"", "http.truncated"),
        (b"HTTP/1.1 200 OK\r\n", "http.truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nvalue", "http.truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nvalue\r\n", "http.truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nvalue", "http.malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nvalue", "http.malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nvalue", "http.malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nvalue", "http.malformed"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\nvalue", "http.malformed"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nvalue", "http.malformed"),
        (b"HTTP/2.0 200 OK\r\n\r\nvalue", "http.malformed"),
        (b"value", "http.malformed"),
        (b"SSH-2.0-OpenSSH\r\n", "http.malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES, "http.head.too-large"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20000, "http.head.too-large"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + OK, "http.head.too-large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 80000, "http.body.too-large"),
    ],
)
async def test_broken_responses(response: bytes, code: str) -> None:
    assert (await failure(answering(response))).code == code


async def drip_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
    while True:
        writer.write(b"v")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("handler", "code"), [(drip_head, "http.head.timeout"), (drip_body, "http.body.timeout")])
async def test_drips_end_by_their_own_limit(handler: Handler, code: str) -> None:
    error = await failure(handler, limits=HttpLimits(5, 5, 0.2))
    assert error.code == code
    assert error.step == code.removesuffix(".timeout")


async def test_no_connection_within_the_limit() -> None:
    connector = Loopback({(V4, 80): 0})
    http = client(FakeResolver(NAMES), connector, limits=HttpLimits(0.05, 5, 5))
    trace = Trace()
    with pytest.raises(StepFailed) as failed:
        await http.get(parse("http://n.example/"), (), 100, trace)
    assert failed.value.error.code == "connect.timeout"
    assert trace.hops[0].connections[0].error == failed.value.error


async def test_bogus_addresses_are_not_used() -> None:
    table: dict[tuple[str, str], list[str] | CheckError | list[bytes]] = {
        ("n.example", "A"): [V4],
        ("n.example", "AAAA"): CheckError("dns.bogus", "bogus", "dns.AAAA"),
    }
    connector = Loopback({})
    with pytest.raises(StepFailed) as failed:
        await client(FakeResolver(table), connector).get(parse("http://n.example/"), (), 100, Trace())
    assert failed.value.error.code == "dns.bogus"
    assert connector.connected == []


async def test_https_redirect_target_is_not_verified_but_recorded(tls_server: tuple[ssl.SSLContext, str]) -> None:
    context, fingerprint = tls_server
    async with listening(answering(OK), tls=context) as secure:
        redirect = answering(b"HTTP/1.1 301 M\r\nLocation: https://n.example/x\r\nContent-Length: 0\r\n\r\n")
        async with listening(redirect) as plain:
            trace = Trace()
            http = client(FakeResolver(NAMES), Loopback({(V4, 80): plain, (V4, 443): secure}))
            answer, url = await http.get(parse("http://n.example/x"), (), 100, trace)
    assert answer.body == b"value"
    assert str(url) == "https://n.example/x"
    connection = trace.hops[1].connections[0]
    assert (connection.certificate_sha256, connection.tls_version) == (fingerprint, "TLSv1.3")


async def test_tls_failures() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await asyncio.Event().wait()

    for handler, code in ((stall, "tls.timeout"), (answering(OK), "tls.failed")):
        async with listening(handler) as port:
            http = client(FakeResolver(NAMES), Loopback({(V4, 443): port}), limits=HttpLimits(5, 0.2, 5))
            trace = Trace()
            with pytest.raises(StepFailed) as failed:
                await http.get(parse("https://n.example/x"), (), 100, trace)
        # A server of plain HTTP waits for the end of a request that never comes.
        assert failed.value.error.code in {code, "tls.timeout"}
        assert trace.hops[0].connections[0].connected


def test_the_callers_headers_frame_and_route_nothing() -> None:
    sent = request_bytes(parse("http://n.example/"), "agent/1", (("user-agent", "theirs"), ("X-Y", "z")))
    assert b"\r\nuser-agent: theirs\r\n" in sent
    assert b"agent/1" not in sent
    assert b"\r\nX-Y: z\r\n" in sent
    for name, value in [("Host", "x"), ("content-Length", "1"), ("X", "a\r\nHost: b"), ("X y", "z"), ("Cookie", "a=b")]:
        with pytest.raises(StepFailed):
            request_bytes(parse("http://n.example/"), "agent/1", ((name, value),))


async def test_the_callers_headers_stay_with_the_host_asked_first() -> None:
    requests: list[bytes] = []
    redirect = b"HTTP/1.1 302 F\r\nLocation: http://m.example/\r\nContent-Length: 0\r\n\r\n"
    async with listening(answering(redirect, OK, requests=requests)) as port:
        table = NAMES | {("m.example", "A"): [V4]}
        http = client(FakeResolver(table), Loopback({(V4, 80): port}))
        await http.get(parse("http://n.example/"), (("X-Secret", "1"),), 100, Trace())
    assert [b"X-Secret" in request for request in requests] == [True, False]


async def test_a_cancelled_check_closes_its_connection() -> None:
    closed = asyncio.Event()
    asked = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        try:
            await reader.read()
        finally:
            closed.set()

    async with listening(handle) as port:
        http = client(FakeResolver(NAMES), Loopback({(V4, 80): port}))
        task = asyncio.create_task(http.get(parse("http://n.example/"), (), 100, Trace()))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 5)


@pytest.fixture
def tls_server(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    from tests.unit.net.certificates import self_signed, server_context  # noqa: PLC0415

    certificate = self_signed(["other.example"])
    return server_context(certificate, tmp_path), certificate.fingerprint
