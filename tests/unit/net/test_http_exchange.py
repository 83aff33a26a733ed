"""One response, however it is cut into packets: the same answer or the same error, within the same bounds."""

from __future__ import annotations

import asyncio
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from appliance.net.http.exchange import MAX_HEAD_BYTES, Exchange
from appliance.net.trace import StepFailed

MOST_BODY_BYTES = 64
PIECES = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 302 F\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/2 200\r\n", b"\n",
    b"Content-Length: 5\r\n", b"Content-Length: 500\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"-1\r\n",
    b"Transfer-Encoding: gzip\r\n", b"Location: /a\r\n", b"Upgrade: x\r\nConnection: upgrade\r\n", b" folded\r\n",
    b"X: " + b"y" * 300 + b"\r\n", b"token", b"5\r\ntoken\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"\x00\xff",
    b"X: y\r\n" * (MAX_HEAD_BYTES // 6),
)  # fmt: skip
HEADS = (
    b"", b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
)  # fmt: skip
pieces = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=9)), max_size=8).map(b"".join)
responses = st.builds(bytes.__add__, st.sampled_from(HEADS), pieces)
Result = tuple[object, ...]


class Nowhere(asyncio.Transport):
    """What is written goes nowhere."""

    def write(self, data: object) -> None: ...

    def abort(self) -> None: ...


async def read(packets: list[bytes]) -> Result:
    exchange = Exchange(b"GET / HTTP/1.1\r\n\r\n", MOST_BODY_BYTES, 60)
    transport = cast("asyncio.Transport", Nowhere())
    exchange.connection_made(transport)
    exchange.send(transport)
    for packet in packets:
        exchange.data_received(packet)
    exchange.eof_received()
    exchange.connection_lost(None)
    try:
        answer = await asyncio.wait_for(exchange.answer(), 10)
    except StepFailed as failed:
        return (failed.error.code,)
    code = None if answer.error is None else answer.error.error.code
    return answer.status, answer.locations, answer.body, answer.body_cut, code


@given(responses, st.lists(st.integers(1, 40), max_size=30))
def test_however_it_is_cut(response: bytes, sizes: list[int]) -> None:
    packets, rest = [], response
    for size in sizes:
        packets.append(rest[:size])
        rest = rest[size:]
    with asyncio.Runner() as runner:
        whole = runner.run(read([response]))
        assert runner.run(read([*packets, rest])) == whole
    if len(whole) > 1:
        assert isinstance(whole[2], bytes)
        assert len(whole[2]) <= MOST_BODY_BYTES


FIRST = (
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 F\r\nLocation: /a\r\nContent-Length: 5\r\n\r\ntoken",
    b"HTTP/1.1 500 E\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n0\r\n\r\n",
)


@given(st.sampled_from(FIRST), responses)
def test_what_comes_after_a_response_changes_nothing(first: bytes, more: bytes) -> None:
    with asyncio.Runner() as runner:
        assert runner.run(read([first + more])) == runner.run(read([first]))
