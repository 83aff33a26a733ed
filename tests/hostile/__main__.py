"""`python -m tests.hostile dns|web READY`, inside the lab's namespace: serves until it is ended; READY is made once all listen.

Two processes, so that endless pages do not slow the answers about names.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.hostile import dns, http, tls
from tests.hostile.addresses import WEB


async def main(kind: str, tell: Callable[[], None]) -> None:
    if kind == "dns":
        await dns.start()
    else:
        with tempfile.TemporaryDirectory() as directory:
            await tls.start(Path(directory))
        for one in WEB:
            await asyncio.start_server(http.serve, str(one), 80)
    tell()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]).touch))
