"""`python -m tests.hostile READY`, inside the lab's namespace: serves until it is ended; READY is made once all listen."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.hostile import dns, http, tls
from tests.hostile.addresses import WEB


async def main(tell: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        await tls.start(Path(directory))
    await dns.start()
    for one in WEB:
        await asyncio.start_server(http.serve, str(one), 80)
    tell()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).touch))
