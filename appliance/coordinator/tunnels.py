"""The tunnel daemon's published state, read again whenever its file is replaced."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.errors import UNDECODABLE
from appliance.model.tunnel import TunnelReport, TunnelStatus

_MAX_BYTES = 1 << 20
_decoder: msgspec.json.Decoder[TunnelReport] = msgspec.json.Decoder(TunnelReport)


class TunnelWatch:
    """What the report at `path` says. `problem`: why there is no report, None where there is one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._by_code: dict[str, TunnelStatus] = {}
        self.updated_s = 0
        self.problem: str | None = None

    def of(self, code: str) -> TunnelStatus | None:
        """The tunnel of `code` as last published, None where nothing is said of it. Call `refresh` first."""
        return self._by_code.get(code)

    def refresh(self) -> None:
        """One stat(2) where the file is the same as before."""
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if version == self._version:
                return
            with self._path.open("rb") as file:
                report = _decoder.decode(file.read(_MAX_BYTES))
        except (OSError, *UNDECODABLE) as error:
            self._version = None
            self._by_code = {}
            self.problem = f"{self._path}: {error}"
            return
        self._version = version
        self._by_code = {tunnel.code: tunnel for tunnel in report.tunnels}
        self.updated_s = report.updated_s
        self.problem = None
