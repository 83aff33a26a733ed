"""Validated ROA payloads: one JSON file for all, and a stayrtr beside each BIRD that validates."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

from tests.lab import bird, processes, state, topology
from tests.lab.model import AutonomousSystem, Prefix


def vrp_file() -> Path:
    """The file in the form that rpki-client and Routinator export."""
    return state.STATE_DIR / "vrps.json"


def write_vrps(roas: Iterable[tuple[int, Prefix]]) -> None:
    """Write the VRPs of (origin ASN, prefix) pairs, maxLength the prefix's own length, both families."""
    now = int(time.time())
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
