"""Log lines: to the journal with their level where stderr leads there, else to stderr with the time."""

from __future__ import annotations

import logging
import os
import sys

# Prefixed to each line, sd-daemon(3) takes these as the priority of the line.
_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", " | ")
        return f"<{_LEVELS.get(record.levelno, 6)}>{text}"


def set_up_logging(level: int = logging.INFO) -> None:
    """Sends the root logger's lines to stderr, one line each. Call once, at start."""
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    # Its messages hold no more than the errors that it raises.
    logging.getLogger("pyroute2").setLevel(logging.CRITICAL)
