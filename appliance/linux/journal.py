"""Structured messages to the systemd journal from a thread of their own; without a journal, one JSON line each to stderr.

No value can break out of its field: what does not print is sent as an escape.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from queue import Full, Queue
from typing import TextIO

import msgspec
from systemd.journal import sendv

SOCKET = Path("/run/systemd/journal/socket")

# Priorities of syslog(3).
ALERT, WARNING, NOTICE, INFO = 1, 4, 5, 6

_OVERFLOW_ID = "fac7939ffa9d4d128cb26c732b8bcb04"


class Message(msgspec.Struct, frozen=True):
    """`id`: what kind of message it is, a key of the catalog. `priority`: as in syslog(3). `fields`: names in upper case
    and their values; a name may occur more than once."""

    id: str
    priority: int
    text: str
    fields: tuple[tuple[str, str], ...] = ()


def printable(text: str) -> str:
    """`text` with escapes for control characters, line ends, and characters that change how others are shown."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class Journal:
    """Takes messages without ever blocking the caller; what exceeds `capacity` is dropped, and counted in a message."""

    def __init__(self, identifier: str, *, capacity: int = 10_000, fallback: TextIO = sys.stderr) -> None:
        """`identifier`: SYSLOG_IDENTIFIER."""
        self._identifier = identifier
        self._fallback = fallback
        self._queue: Queue[Message | None] = Queue(capacity)
        self._dropped = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        """Queues `message`."""
        try:
            self._queue.put_nowait(message)
        except Full:
            with self._lock:
                self._dropped += 1

    def close(self, timeout_s: float = 5.0) -> None:
        """Sends what is queued, unless that takes longer."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            self._send_out(message)
            with self._lock:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                text = f"{dropped} messages were not sent: the journal was too slow, or not there"
                self._send_out(Message(_OVERFLOW_ID, WARNING, text, (("MPIC_DROPPED", str(dropped)),)))

    def _send_out(self, message: Message) -> None:
        pairs = [
            ("MESSAGE", message.text),
            ("MESSAGE_ID", message.id),
            ("PRIORITY", str(message.priority)),
            ("SYSLOG_IDENTIFIER", self._identifier),
            *message.fields,
        ]
        safe = [(name, printable(value)) for name, value in pairs]
        try:
            if SOCKET.exists():
                sendv(*(f"{name}={value}" for name, value in safe))
            else:
                self._fallback.write(_json_line(safe))
                self._fallback.flush()
        except (OSError, ValueError):
            # There is nowhere left to say so but in the next message that does get through.
            with self._lock:
                self._dropped += 1


def _json_line(pairs: list[tuple[str, str]]) -> str:
    """One object; a name that occurs more than once has a list."""
    values: dict[str, str | list[str]] = {}
    for name, value in pairs:
        before = values.get(name)
        if before is None:
            values[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            values[name] = [before, value]
    return msgspec.json.encode(values).decode() + "\n"
