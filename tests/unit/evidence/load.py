"""A process that writes decisions, eight at a time, and prints each receipt as it comes, until it is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from appliance.evidence import EvidenceWriter
from tests.unit.evidence.samples import decision


async def main(path: Path) -> None:
    writer = EvidenceWriter.open(path)
    numbers = itertools.count()

    async def client() -> None:
        for number in numbers:
            receipt = await writer.submit(decision(number, name=f"p{os.getpid()}.n{number}.example.com"))
            sys.stdout.write(f"{receipt.seq} {receipt.hash}\n")
            sys.stdout.flush()

    await asyncio.gather(*(client() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
