"""The configured dumps of the global routing table and of the registries, read again whenever one is replaced.

Only what concerns our own addresses stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from appliance.config import RoutingConfig
from appliance.model.place import Rir
from appliance.policy.proofs import RoutingTable
from appliance.policy.registry import registries_of
from appliance.policy.routing import Routes, routes_to

# The whole table of 2026 has 1.3 million routes, less than 40 octets each.
_MAX_BYTES = 1 << 28
_Version = tuple[tuple[int, int, int], ...]
_Found = TypeVar("_Found")


class RoutingData:
    """The routes to `addresses`, and where those are registered. `read` takes up to seconds: call it in a thread."""

    def __init__(self, config: RoutingConfig, addresses: tuple[str, ...]) -> None:
        self._config = config
        self._routes: _Dumps[Routes] = _Dumps(config.files, lambda lines: routes_to(addresses, lines))
        self._registries: _Dumps[dict[str, Rir]] = _Dumps(
            config.registry_files, lambda lines: registries_of(addresses, lines)
        )

    def read(self, now: datetime) -> RoutingTable:
        """The table as it is now; its files are read only where one is another than before."""
        registries, problem = self._read_registries(now)
        try:
            routes, made = self._routes.read()
        except (OSError, UnicodeDecodeError) as error:
            return RoutingTable(problem=f"routing data cannot be read: {error}")
        at = made.strftime("%Y-%m-%dT%H:%M:%SZ")
        most_s = self._config.max_age_s
        age_s = int((now - made).total_seconds())
        if age_s > most_s:
            return RoutingTable(at, f"routing data is {age_s // 3600} h old, more than {most_s // 3600} h")
        return RoutingTable(at, None, routes, registries, problem)

    def _read_registries(self, now: datetime) -> tuple[dict[str, Rir], str | None]:
        if not self._config.registry_files:
            return {}, None
        try:
            found, made = self._registries.read()
        except (OSError, UnicodeDecodeError) as error:
            return {}, f"the registries' statistics cannot be read: {error}"
        # Without its age, which would be another note every hour.
        if (now - made).total_seconds() > self._config.max_age_s:
            return {}, f"the registries' statistics are older than {self._config.max_age_s // 3600} h"
        return found, None


class _Dumps(Generic[_Found]):
    """What `take` finds in the lines of all `files`."""

    def __init__(self, files: tuple[Path, ...], take: Callable[[Iterator[str]], _Found]) -> None:
        self._files = files
        self._take = take
        self._version: _Version | None = None
        self._found: _Found

    def read(self) -> tuple[_Found, datetime]:
        """It, and when the oldest file was made. Raises `OSError`, `UnicodeDecodeError`."""
        stats = [path.stat() for path in self._files]
        version = tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)
        if version != self._version:
            self._version = None
            self._found = self._take(_lines(self._files))
            self._version = version
        return self._found, min(datetime.fromtimestamp(stat.st_mtime, UTC) for stat in stats)


def _lines(files: tuple[Path, ...]) -> Iterator[str]:
    for path in files:
        if path.stat().st_size > _MAX_BYTES:
            raise OSError(f"{path} has more than {_MAX_BYTES} bytes")
        with path.open(encoding="ascii") as file:
            yield from file
