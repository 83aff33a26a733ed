"""Run in a mount namespace of its own: writes to a small file system while it fills and grows, then opens it read-only."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from itertools import count
from pathlib import Path

from appliance.errors import EvidenceUnavailable
from appliance.evidence import EvidenceWriter
from appliance.evidence.audit import Scope, verify_store
from tests.unit.evidence.samples import decision

NUMBERS = count()


def mount(directory: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)


async def attempt(writer: EvidenceWriter) -> str:
    try:
        await writer.submit(decision(next(NUMBERS)))
    except EvidenceUnavailable:
        return "refused"
    return "written"


async def opening(store: Path) -> str:
    try:
        writer = EvidenceWriter.open(store)
    except EvidenceUnavailable:
        return "refused"
    outcome = await attempt(writer)
    await writer.close()
    return outcome


async def main(directory: Path) -> dict[str, object]:
    mount(directory, "size=1m")
    store = directory / "evidence.sqlite"
    writer = EvidenceWriter.open(store)
    before = 0
    while await attempt(writer) == "written":
        before += 1
    told: dict[str, object] = {"before": before, "full": [await attempt(writer), await attempt(writer)]}
    mount(directory, "remount,size=8m")
    told["roomy"] = [await attempt(writer), await attempt(writer)]
    await writer.close()
    mount(directory, "remount,ro")
    told["read_only"] = await opening(store)
    mount(directory, "remount,rw,size=8m")
    told["writable"] = await opening(store)
    report = verify_store(store, Scope(deep=True))
    return told | {"stored": report.records, "problems": [problem.reason for problem in report.problems]}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
