"""The node's status as a document: written by root to a file, which the unprivileged server reads; see `egress.serve`.

Integers, strings and truth values alone. It holds no key and no address of anybody's endpoint.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from egress import firewall, health, node, wireguard
from egress.config import EgressConfig, InterfaceConfig
from egress.errors import EgressError

DEFAULT_FILE = Path("/run/mpic-egress/status.json")
_MOST_LINES = 20
_LONGEST_LINE = 200
_WRONG_FILE = "the node's configuration file is wrong: mpic-egress check says how"
_KEPT_WITHOUT_CONFIGURATION = ("port", "interfaces", "security_updates", "updates_as_of_s")


def make(config: EgressConfig, before: dict[str, Any]) -> dict[str, Any]:
    """The document now. `before`: the former one, for what is costly to find out. Raises nothing of what it tells."""
    now_s = int(time.time())
    found = health.look(config, now_s, _known(before))
    problems = node.faults(config)
    return _head(now_s) | {
        "problems": _lines(problems),
        "warnings": _lines(health.warnings(found)),
        "clock_synchronised": found.clock_synchronised,
        "security_updates": found.updates.security,
        "updates_as_of_s": found.updates.as_of_s,
        "reboot_required": found.reboot_required,
        "conntrack_permille": health.conntrack_permille(found),
        "refused": firewall.counts(),
        "port": config.status.port,
        "interfaces": [_interface(interface, found.backends[interface.name]) for interface in config.interfaces],
    }


def without_configuration(before: dict[str, Any]) -> dict[str, Any]:
    """What is told while the file is wrong: that, to those who were told before. How it is wrong is not theirs to know."""
    kept = {key: before[key] for key in _KEPT_WITHOUT_CONFIGURATION if key in before}
    return {"interfaces": []} | kept | _head(int(time.time())) | {"problems": [_WRONG_FILE], "warnings": []}


def read(path: Path) -> dict[str, Any]:
    """The document in `path`; empty where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, document: dict[str, Any]) -> None:
    """Puts it in the place of the former at once, readable for all. Raises `OSError`."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _head(now_s: int) -> dict[str, Any]:
    return {"version": version("mpic-appliance"), "kernel": platform.release(), "written_s": now_s}


def _known(before: dict[str, Any]) -> health.Updates | None:
    security, as_of_s = before.get("security_updates"), before.get("updates_as_of_s")
    return health.Updates(security, as_of_s) if isinstance(security, int) and isinstance(as_of_s, int) else None


def _lines(found: Any) -> list[str]:
    return [str(line)[:_LONGEST_LINE] for line in found][:_MOST_LINES]


def _interface(config: InterfaceConfig, backend: str | None) -> dict[str, Any]:
    try:
        peers = {peer.public_key: peer for peer in wireguard.state(config.name).peers} if backend is not None else {}
    except EgressError:
        peers = {}
    rows = []
    for peer in config.peers:
        seen = peers.get(peer.public_key)
        rows.append(
            {
                "name": peer.name,
                "addresses": [str(address) for address in peer.addresses],
                "latest_handshake_s": seen.latest_handshake_s if seen is not None else 0,
                "received_bytes": seen.received_bytes if seen is not None else 0,
                "sent_bytes": seen.sent_bytes if seen is not None else 0,
            }
        )
    addresses = [str(address) for address in config.addresses]
    return {"name": config.name, "backend": backend, "addresses": addresses, "peers": rows}
