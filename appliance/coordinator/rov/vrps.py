"""The VRP export that is in use, read again whenever its file is replaced."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from appliance.evidence.record import utc_text
from appliance.model.rov import VrpStatus
from appliance.rpki.vrps import BadExport, Vrps, read_vrps


class VrpWatch:
    """The export at `path` (None: none is configured), which counts up to `max_age_s` seconds after it was made."""

    def __init__(self, path: Path | None, max_age_s: float) -> None:
        self._path = path
        self._max_age_s = max_age_s
        self._version: tuple[int, int, int] | None = None
        self._vrps: Vrps | None = None
        self._problem = "rov.vrp_file is not configured" if path is None else ""

    async def refresh(self) -> None:
        """Reads the file where it is another than before, off the event loop: an export has half a million entries.

        What cannot be read leaves no VRPs: an export that is broken is no reason to trust the one before it for longer.
        """
        if self._path is None:
            return
        try:
            stat = self._path.stat()
        except OSError as error:
            self._version, self._vrps, self._problem = None, None, f"{self._path}: {error.strerror}"
            return
        version = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if version == self._version:
            return
        try:
            self._vrps = await asyncio.to_thread(read_vrps, self._path)
            self._problem = ""
        except BadExport as error:
            self._vrps, self._problem = None, str(error)
        self._version = version

    def fresh(self, now: datetime) -> Vrps | None:
        """The VRPs, where they are not too old. One from the future is as little to be trusted as an old one."""
        if self._vrps is None:
            return None
        age = now - self._vrps.generated
        return self._vrps if abs(age) <= timedelta(seconds=self._max_age_s) else None

    def status(self, now: datetime) -> VrpStatus:
        """For operators."""
        problem, vrps = self._problem, self._vrps
        age_s = None if vrps is None else int((now - vrps.generated).total_seconds())
        if not problem and self.fresh(now) is None:
            problem = "not read yet" if vrps is None else f"{age_s} s old"
        return VrpStatus(
            file="" if self._path is None else str(self._path),
            count=0 if vrps is None else vrps.count,
            generated_at=None if vrps is None else utc_text(vrps.generated),
            age_s=age_s,
            max_age_s=int(self._max_age_s),
            problem=problem,
        )
