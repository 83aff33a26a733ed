"""Knot DNS: one authoritative server per place, controlled by its socket."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.lab import netns, processes, state
from tests.lab.model import Address

# Root and TLD share a namespace and listen apart; the others answer at every address that they come to hold.
_EVERYWHERE: Final = ("0.0.0.0", "::")

_CONFIGURATION: Final = """\
server:
    rundir: "{directory}"
    pidfile: "{directory}/knot.pid"
    listen: [ {listen} ]
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    identity: ""
    version: ""
log:
  - target: stderr
    any: warning
database:
    storage: "{directory}/db"
control:
    listen: "{directory}/knot.ctl"
template:
  - id: default
    storage: "{directory}"
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
zone:
{zones}
"""


def directory(server: str) -> Path:
    """Where the server has its files."""
    return state.directory("dns", server)


def zone_file(server: str, origin: str) -> Path:
    """The master file that the server loads for a zone."""
    return directory(server) / f"{quote(origin, safe='')}.zone"


def start(server: str, namespace: str, address: Address | None, origins: Iterable[str]) -> None:
    """Start the server at `address` (None: at every address of the namespace) with zone files that are there."""
    where = directory(server)
    listen = ", ".join(f"{one}@53" for one in (address or _EVERYWHERE))
    zones = "".join(f'  - domain: "{origin}"\n    file: "{zone_file(server, origin)}"\n' for origin in origins)
    state.write_text(where / "knot.conf", _CONFIGURATION.format(directory=where, listen=listen, zones=zones))
    processes.service(namespace, f"knot-{server}", ["knotd", "-c", str(where / "knot.conf")])


def control(server: str, *words: str) -> str:
    """The answer of `knotc WORDS`, waited for; `CommandError` when the server does not run or refuses."""
    argv = ["knotc", "-b", "-s", str(directory(server) / "knot.ctl"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise netns.CommandError(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
    return done.stdout


def unloaded(server: str) -> list[str] | None:
    """Zones that the server could not load; None while it does not answer yet."""
    try:
        answer = control(server, "zone-status")
    except netns.CommandError:
        return None
    return [
        line.split("]")[0].lstrip("[") for line in answer.splitlines() if "serial: -" in line or "serial: none" in line
    ]
