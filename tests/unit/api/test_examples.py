"""The examples under `packaging/examples`, run as they are."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.unit.api.listeners import add, api, free_port
from tests.unit.api.serving import serving
from tests.unit.coordinator.workers import CODES, mismatch

EXAMPLES = Path(__file__).parents[3] / "packaging" / "examples"


async def run(key: str, *command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | {"MPIC_KEY": key}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_examples(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with serving(tmp_path, api=api(tmp_path, port=port, authentication="api-key")) as on:
        key = (await add(on, "example"))["key"]
        curl = (str(EXAMPLES / "curl.sh"), "example.com", url)
        python = (sys.executable, str(EXAMPLES / "ask.py"), "example.com", "abc", "abc.def", url)
        code, output = await run(key, *curl)
        assert (code, json.loads(output)["is_valid"]) == (0, True)
        assert await run(key, *python) == (0, "example.com: 6/6 \n")
        assert (await run("mpic_wrong", *curl))[0] == 22
        assert (await run("mpic_wrong", *python))[0] == 2
        on.stage.script(mismatch, *CODES)
        assert (await run(key, *python))[0] == 1
