"""Log lines: to the journal with their level where stderr leads there, else to stderr with the time."""

from __future__ import annotations

import logging
import os
import sys

from appliance.linux.journal import printable

# Prefixed to each line, sd-daemon(3) takes these as the priority of the line.
_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _LineFormatter(logging.Formatter):
    """One record, one line: what others wrote in it cannot begin another, nor steer a terminal (C0, C1, line separators)."""

    def format(self, record: logging.LogRecord) -> str:
        message = printable(record.getMessage())
        whole = logging.makeLogRecord(record.__dict__ | {"msg": message, "args": None})
        return " | ".join(printable(line) for line in super().format(whole).split("\n"))


class _JournalFormatter(_LineFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"<{_LEVELS.get(record.levelno, 6)}>{super().format(record)}"


def set_up_logging(level: int = logging.INFO) -> None:
    """Sends the root logger's lines to stderr, one line each. Call once, at start."""
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(_LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    # Its messages hold no more than the errors that it raises.
    logging.getLogger("pyroute2").setLevel(logging.CRITICAL)
    # These write a line for each request, with a reason phrase of the other end's choice and length.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
