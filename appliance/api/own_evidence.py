"""`GET /evidence`: what a caller itself asked, and nobody else's records."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec

from appliance.api.errors import Issue, Malformed
from appliance.api.http import HttpRequest, HttpResponse, Routes, json_response
from appliance.evidence.reading import base, last_seq, reading
from appliance.evidence.search import Filter, find

# Of all records, whoever's they are: so one request costs the same, however little of them is the caller's.
_SPAN = 2000
# With everything that one observation may hold, an answer stays under the 1 MiB of the protocol between appliances.
_MOST_BYTES = 256 * 1024
_MOST_DIGITS = 18


class OwnRecord(msgspec.Struct, frozen=True):
    """One record. `record`: its canonical bytes (RFC 8785), which together with those before it hash to `hash`."""

    seq: int
    hash: str
    record: msgspec.Raw


class OwnRecords(msgspec.Struct, frozen=True):
    """Records by number. `after`: what to ask for next; `more`: whether there may be more now."""

    records: tuple[OwnRecord, ...]
    after: int
    more: bool


class OwnEvidence:
    """Reads the store at `database`, one request at a time."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._one_at_a_time = asyncio.Lock()

    def routes(self) -> Routes:
        """For every caller, those too who may use single perspectives only."""
        return {"/evidence": {"GET": self._list}}

    async def _list(self, request: HttpRequest) -> HttpResponse:
        after = _after(request.query)
        async with self._one_at_a_time:
            return json_response(await asyncio.to_thread(self._read, request.caller.name, after))

    def _read(self, caller: str, after: int) -> OwnRecords:
        with reading(self._database) as connection:
            last = last_seq(connection)
            first = min(max(after, base(connection).seq), last)
            upto, size = min(first + _SPAN, last), 0
            own: list[OwnRecord] = []
            for found in find(connection, Filter(caller=caller, after=first, upto=upto), whole=True):
                if own and size + len(found.record) > _MOST_BYTES:
                    upto = own[-1].seq
                    break
                own.append(OwnRecord(found.seq, found.hash.hex(), msgspec.Raw(found.record)))
                size += len(found.record)
        return OwnRecords(tuple(own), upto, more=upto < last)


def _after(query: bytes) -> int:
    """The parameter `after`, 0 without it. Raises `Malformed`."""
    try:
        parameters = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise Malformed([Issue.of((), "the query is not name=value")]) from error
    values = dict(parameters)
    text = values.pop("after", "0")
    if values or len(parameters) > 1:
        raise Malformed([Issue.of((), "no parameter but one `after` is known")])
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise Malformed([Issue.of(("after",), "the number of a record, 0 for the first")])
    return int(text)
