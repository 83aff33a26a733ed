"""Asks the egress node how it is, through the tunnel, for operators to read: nothing that it says makes anything ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from appliance.errors import UNDECODABLE
from appliance.model.egress import EgressStatus
from appliance.perspective.assignment import Assignment

INTERVAL_S = 60.0
_SOON_S = 5.0
_ASK_S = 5.0
_MAX_BYTES = 16384
_decoder = msgspec.json.Decoder(EgressStatus)
_log = logging.getLogger(__name__)


async def ask(address: str, port: int) -> EgressStatus:
    """One connection, on which nothing is said. Raises `OSError`, `TimeoutError`, `msgspec.MsgspecError`."""
    async with asyncio.timeout(_ASK_S):
        reader, writer = await asyncio.open_connection(address, port, limit=_MAX_BYTES)
        try:
            received = bytearray()
            while len(received) <= _MAX_BYTES and (more := await reader.read(_MAX_BYTES)):
                received += more
        finally:
            writer.transport.abort()
    if len(received) > _MAX_BYTES:
        raise msgspec.DecodeError(f"more than {_MAX_BYTES} octets")
    return _decoder.decode(received)


class EgressWatch:
    """Keeps what the node last said; `usable`: whether the path to it is intact, without which nothing is asked."""

    def __init__(self, assignment: Assignment, usable: Callable[[], bool]) -> None:
        self._assignment = assignment
        self._usable = usable
        self._said: EgressStatus | None = None
        self._failure = ""

    def said(self) -> EgressStatus | None:
        """What it said when it was last asked; None where it did not answer then."""
        return self._said

    async def run(self, changed: Callable[[], None]) -> None:
        """Asks again and again, until it is cancelled; `changed` is called after each answer, or lack of one."""
        port = self._assignment.status_port
        while port is not None and self._assignment.far_addresses:
            if self._usable():
                before = self._said
                await self._ask(str(self._assignment.far_addresses[0]), port)
                if self._said != before:
                    changed()
            await asyncio.sleep(_SOON_S if self._said is None else INTERVAL_S)
        await asyncio.Event().wait()

    async def _ask(self, address: str, port: int) -> None:
        failure = ""
        try:
            self._said = await ask(address, port)
        except (OSError, TimeoutError, *UNDECODABLE) as error:
            self._said = None
            failure = f"no status of the egress node: {type(error).__name__}: {error}"
        if failure and failure != self._failure:
            _log.info("%s", failure)
        self._failure = failure
