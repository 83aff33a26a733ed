"""Network sysctls. `/proc/sys/net` shows the network namespace of the thread that opens a file in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from appliance.linux import netns

_ROOT = Path("/proc/sys")


def read(keys: Iterable[str], namespace: Path | None = None) -> dict[str, str]:
    """The values of `keys` (paths like `net/ipv6/conf/all/accept_ra`), white space made single; absent keys left out."""
    if namespace is None:
        return _read(keys)
    with netns.inside(namespace):
        return _read(keys)


def write(values: Mapping[str, str], namespace: Path | None = None) -> None:
    """Sets `values`. Raises `OSError` with the file's name."""
    if namespace is None:
        _write(values)
        return
    with netns.inside(namespace):
        _write(values)


def _read(keys: Iterable[str]) -> dict[str, str]:
    found = {}
    for key in keys:
        try:
            found[key] = " ".join((_ROOT / key).read_text(encoding="ascii").split())
        except FileNotFoundError:
            continue
    return found


def _write(values: Mapping[str, str]) -> None:
    for key, value in values.items():
        (_ROOT / key).write_text(value, encoding="ascii")
