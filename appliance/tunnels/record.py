"""What this daemon has set out to make, so that it removes nothing of anybody else's; written before it is made."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.errors import UNDECODABLE
from appliance.linux.files import write_atomically


class Entry(msgspec.Struct, frozen=True):
    """A namespace and its interface. `netns_made`: the namespace was not there before. `host_link`: the other end of a veth."""

    code: str
    netns: str
    interface: str
    netns_made: bool
    host_link: str | None = None


class _File(msgspec.Struct, frozen=True):
    entries: tuple[Entry, ...] = ()
    fence: str = ""
    host_sysctls: dict[str, str] = {}


class Record:
    """The record at `path`, in a directory that only root can write. It goes with `/run` at a reboot, as what it lists does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            read = msgspec.json.decode(path.read_bytes(), type=_File)
        except (FileNotFoundError, *UNDECODABLE):
            read = _File()
        self._entries = {(entry.netns, entry.interface): entry for entry in read.entries}
        self._fence = read.fence
        self._host_sysctls = read.host_sysctls

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that was set out to be made and has not been removed."""
        return tuple(self._entries.values())

    @property
    def fence(self) -> str:
        """How nft showed the fence when it was put up; empty: it was not."""
        return self._fence

    def has(self, netns: str, interface: str) -> bool:
        """Whether this pair is on record."""
        return (netns, interface) in self._entries

    def add(self, entry: Entry) -> None:
        """Puts `entry` on record."""
        self._entries[entry.netns, entry.interface] = entry
        self._write()

    def remove(self, entry: Entry) -> None:
        """Takes `entry` off the record."""
        self._entries.pop((entry.netns, entry.interface), None)
        self._write()

    def set_fence(self, listing: str) -> None:
        """Notes how nft shows the fence."""
        self._fence = listing
        self._write()

    @property
    def host_sysctls(self) -> dict[str, str]:
        """What the host's sysctls were before they were set for the primary."""
        return dict(self._host_sysctls)

    def note_host_sysctls(self, before: dict[str, str]) -> None:
        """Notes what sysctls were; the first note of each counts. Empty: they are as they were, forget them."""
        self._host_sysctls = before | self._host_sysctls if before else {}
        self._write()

    def _write(self) -> None:
        write_atomically(
            self._path, msgspec.json.encode(_File(self.entries, self._fence, self._host_sysctls)), mode=0o600
        )
