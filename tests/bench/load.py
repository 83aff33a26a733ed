"""A closed loop of requests on the coordinator's Unix socket, by a client that costs as little as it can."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Body = Callable[[int], bytes]


@dataclass(slots=True)
class Result:
    """`latencies_s` of every answer; `wrong`: what was not HTTP 200 with `is_valid: true`, the first few in full."""

    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.latencies_s) / self.seconds if self.seconds else 0.0

    def add(self, more: Result) -> None:
        """Counts what another run saw as this one's."""
        self.seconds += more.seconds
        self.latencies_s += more.latencies_s
        self.wrong += more.wrong
        self.examples += more.examples

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` of the answers did not exceed, in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


async def closed_loop(socket: Path, body: Body, concurrency: int, seconds: float, first: int) -> Result:
    """Keeps `concurrency` requests in flight for `seconds`. `body(n)` is the n-th request's JSON, counted from `first`."""
    result = Result()
    counter = iter(range(first, 1 << 60))
    began = time.perf_counter()
    await asyncio.gather(*(_one(socket, body, counter, began + seconds, result) for _ in range(concurrency)))
    result.seconds = time.perf_counter() - began
    return result


async def _one(socket: Path, body: Body, counter: object, until: float, result: Result) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        while time.perf_counter() < until:
            content = body(next(counter))  # type: ignore[call-overload]
            began = time.perf_counter()
            writer.write(
                b"POST /mpic HTTP/1.1\r\nHost: mpicd\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
            )
            status, answer = await _answer(reader)
            result.latencies_s.append(time.perf_counter() - began)
            if status != 200 or b'"is_valid":true' not in answer:
                result.wrong += 1
                if len(result.examples) < 3:
                    result.examples.append(f"{status} {answer[:2000].decode('utf-8', 'replace')}")
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def as_json(value: object) -> bytes:
    """A request body."""
    return json.dumps(value, separators=(",", ":")).encode()
