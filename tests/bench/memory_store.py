"""`mpicd` with a store of evidence that keeps nothing on disk: what evidence costs is measured against it.

Run as a program in the place of `mpicd`, with its arguments. It is the cheapest that a store can be: no canonical bytes, no
hash, no thread, no journal. It lives with the benchmark, and nothing that is installed can start it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import cast
from unittest.mock import patch

from appliance.config import Settings
from appliance.coordinator.store import Store
from appliance.daemons import mpicd
from appliance.errors import EvidenceUnavailable
from appliance.evidence.ledger import Ledger
from appliance.evidence.record import EvidenceRecord, Receipt

_KEPT = 10_000


class MemoryWriter:
    """In the form of `appliance.evidence.writer.EvidenceWriter`."""

    failure: str | None = None

    def __init__(self) -> None:
        self._seq = 0
        self._kept: deque[EvidenceRecord] = deque(maxlen=_KEPT)

    def submit(self, record: EvidenceRecord) -> asyncio.Future[Receipt]:
        """Kept, and told at once."""
        self._seq += 1
        self._kept.append(record)
        told: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        told.set_result(Receipt(self._seq, "0" * 64))
        return told

    async def run(self, work: Callable[[Ledger], object]) -> object:
        """There is no ledger."""
        raise EvidenceUnavailable(f"{work} has no ledger here")

    def newest_record_time(self) -> datetime | None:
        """Nothing is older than this process."""
        return None


class MemoryStore:
    """In the form of `appliance.coordinator.store.Store`."""

    def __init__(self) -> None:
        self.writer = MemoryWriter()

    async def close(self) -> None:
        """Forgets."""


def open_store(_settings: Settings) -> Store:
    """In the place of `appliance.coordinator.store.open_store`."""
    return cast("Store", MemoryStore())


if __name__ == "__main__":
    with patch.object(mpicd, "open_store", open_store):
        mpicd.main()
