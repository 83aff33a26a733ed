from __future__ import annotations

from pathlib import Path
from typing import Final

EXTRA: Final = Path(__file__).with_name("extra")
"""Zones, pages and web servers of the table's targets, for `Lab`."""
