"""Validated ROA payloads: one JSON file for all, and a stayrtr beside each BIRD that validates."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from tests.lab import bird, processes, state, topology
from tests.lab.model import AutonomousSystem, Prefix
from tests.lab.wait import wait_until

_FLIP_LIMIT_S: Final = 10.0


def vrp_file() -> Path:
    """The file in the form that rpki-client and Routinator export."""
    return state.STATE_DIR / "vrps.json"


def write_vrps(roas: Iterable[tuple[int, Prefix]], age_s: int = 0) -> None:
    """Write the VRPs of (origin ASN, prefix) pairs, maxLength the prefix's own length, both families; made `age_s` ago."""
    now = int(time.time()) - age_s
    entries = [
        {"asn": asn, "prefix": str(network), "maxLength": network.prefixlen, "ta": "lab", "expires": now + 7 * 86400}
        for asn, prefix in roas
        for network in prefix
    ]
    document = {"metadata": {"buildtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))}, "roas": entries}
    state.write_text(vrp_file(), json.dumps(document, indent=1))


def start() -> None:
    """Write the topology's VRPs and start a stayrtr in each AS that validates."""
    write_vrps(topology.roas())
    for system in topology.SYSTEMS:
        if system.rov:
            start_cache(system)


def publish(roas: Iterable[tuple[int, Prefix]]) -> None:
    """Write these VRPs, have every cache read them, and return when each router that validates has as many."""
    wanted = tuple(roas)
    write_vrps(wanted)
    systems = {system.namespace: system for system in topology.SYSTEMS if system.rov}
    for pid in processes.inside(systems):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "stayrtr":
            os.kill(pid, signal.SIGHUP)
    for system in systems.values():
        wait_until(partial(_has, system, len(wanted)), _FLIP_LIMIT_S, f"the VRPs at {system.name}")


def _has(system: AutonomousSystem, count: int) -> bool:
    return all(
        f"{count} of {count} routes" in bird.control(system, "show", "route", "count", "table", table)
        for table in ("r4", "r6")
    )


def start_cache(system: AutonomousSystem) -> None:
    """Start stayrtr on the AS's loopback; SIGHUP makes it read the file again."""
    processes.service(
        system.namespace,
        f"stayrtr-{system.name}",
        [
            "stayrtr",
            f"-bind=127.0.0.1:{bird.RTR_PORT}",
            f"-cache={vrp_file()}",
            "-metrics.addr=127.0.0.1:9847",
            "-checktime=false",
            "-log.verbose=false",
            "-loglevel=warn",
        ],
    )
