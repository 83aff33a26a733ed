"""The coordinator of the end-to-end tests, ended and started anew with other settings or another state."""

from __future__ import annotations

import contextlib
import http.client
import signal
from collections.abc import Collection, Iterator, Mapping

from tests.lab import wait_until
from tests.lab.appliance import Appliance


def with_keys(text: str, table: str, keys: Mapping[str, str]) -> str:
    """A configuration with these keys of a table that is there; the values are in TOML."""
    lines = text.splitlines()
    start = lines.index(f"[{table}]")
    for key, value in keys.items():
        lines = [line for line in lines if not line.startswith(f"{key} = ")]
        lines.insert(start + 1, f"{key} = {value}")
    return "\n".join(lines) + "\n"


def start(appliance: Appliance, ready: Collection[str] | None = None) -> None:
    """Start it, and return once every perspective can corroborate; `ready`: those alone, where the others are withheld."""
    appliance.start_coordinator()
    wait_until(lambda: answers(appliance), 30, "the coordinator answers again", 0.1)
    appliance.wait_for(set(appliance.codes if ready is None else ready))


@contextlib.contextmanager
def settings(appliance: Appliance, table: str, **keys: str) -> Iterator[None]:
    """Runs with `keys`, TOML values of one table, until the end."""
    before = appliance.config.read_text()
    appliance.kill("mpicd", signal.SIGTERM)
    appliance.config.write_text(with_keys(before, table, keys))
    try:
        start(appliance)
        yield
    finally:
        appliance.kill("mpicd", signal.SIGTERM)
        appliance.config.write_text(before)
        start(appliance)


def answers(appliance: Appliance) -> bool:
    """Whether the coordinator answers, whatever it says of its readiness."""
    try:
        return appliance.ask("GET", "/healthz").status_code == 200
    except (OSError, http.client.HTTPException):
        return False
