"""Another day for the coordinator, by the one way that the product has: its date never goes back behind its records'.

A store whose newest record is of that day stands in for the appliance's own. It can only ever bring a day forward, and
with it what the Baseline Requirements ask for more; nothing of the product is there for tests alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, time

from appliance.config import Settings
from appliance.coordinator.records import life_event
from appliance.coordinator.store import open_store
from appliance.evidence.actor import actor_of
from appliance.evidence.record import EventType, Software, utc_text
from tests.e2e.coordinator import start
from tests.lab.appliance import Appliance


@contextlib.contextmanager
def on_day(appliance: Appliance, day: date) -> Iterator[None]:
    """The coordinator lives on `day` until the end; then it is back, with the evidence that it had."""
    own = appliance.settings.database.parent
    kept = own.with_name("evidence-kept")
    appliance.kill("mpicd", signal.SIGTERM)
    subprocess.run(["cp", "-a", own, kept], check=True)
    try:
        asyncio.run(_prepare(appliance.settings, day))
        subprocess.run(["chown", "-R", f"--reference={kept}", own], check=True)
        start(appliance)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            appliance.kill("mpicd", signal.SIGTERM)
        shutil.rmtree(own)
        kept.rename(own)
        start(appliance)


async def _prepare(settings: Settings, day: date) -> None:
    store = open_store(settings)
    noon = utc_text(datetime.combine(day, time(12), UTC))
    await store.writer.submit(life_event(EventType.STOP, actor_of(), Software("test", "0" * 64), (), time=noon))
    await store.close()
