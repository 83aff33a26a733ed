"""The configured dumps of the global routing table, read again whenever one is replaced; only our own addresses' routes stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from appliance.config import RoutingConfig
from appliance.policy.proofs import RoutingTable
from appliance.policy.routing import Routes, routes_to

# The whole table of 2026 has 1.3 million routes, less than 40 octets each.
_MAX_BYTES = 1 << 28
_Version = tuple[tuple[int, int, int], ...]


class RoutingData:
    """The routes to `addresses`. `read` takes up to seconds: call it in a thread."""

    def __init__(self, config: RoutingConfig, addresses: tuple[str, ...]) -> None:
        self._config = config
        self._addresses = addresses
        self._version: _Version | None = None
        self._routes: Routes = {}
        self._oldest_s = 0.0

    def read(self, now: datetime) -> RoutingTable:
        """The table as it is now; its files are read only where one is another than before."""
        try:
            stats = [path.stat() for path in self._config.files]
            version = tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)
            if version != self._version:
                self._routes = routes_to(self._addresses, _lines(self._config.files))
                self._version = version
        except (OSError, UnicodeDecodeError) as error:
            self._version = None
            return RoutingTable(problem=f"routing data cannot be read: {error}")
        made = min(datetime.fromtimestamp(stat.st_mtime, UTC) for stat in stats)
        at = made.strftime("%Y-%m-%dT%H:%M:%SZ")
        age_s = int((now - made).total_seconds())
        if age_s > self._config.max_age_s:
            text = f"routing data is {age_s // 3600} h old, more than {self._config.max_age_s // 3600} h"
            return RoutingTable(at, text)
        return RoutingTable(at, None, self._routes)


def _lines(files: tuple[Path, ...]) -> Iterator[str]:
    for path in files:
        if path.stat().st_size > _MAX_BYTES:
            raise OSError(f"{path} has more than {_MAX_BYTES} bytes")
        with path.open(encoding="ascii") as file:
            yield from file
