"""LAB_EXTRA=DIR: zones, web content and nginx configuration that a user adds to the lab.

DIR/zones/*.zone are master files, each with its own $ORIGIN; DIR/www/HOST/... is served for HOST;
DIR/nginx/*.conf is included at the http level of the applicants' nginx.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from tests.lab import state
from tests.lab.zones import Zone, own_zones

_ORIGIN: Final = re.compile(r"^\$ORIGIN[ \t]+([^\s;]+)", re.IGNORECASE | re.MULTILINE)
_INCLUDE: Final = re.compile(r"^\$INCLUDE\b", re.IGNORECASE | re.MULTILINE)
_HOST: Final = re.compile(r"[0-9A-Za-z._:\[\]-]+")
_SERVER: Final = "quay"
_NAME_SERVER: Final = "ns.quay.lab."


class ExtraError(Exception):
    """Something in LAB_EXTRA cannot be used; the message names the file."""


def link(directory: Path) -> Path:
    """A path to LAB_EXTRA's directory that is fit for a configuration file; stays current while the lab runs."""
    if not directory.is_dir():
        raise ExtraError(f"LAB_EXTRA: {directory} is not a directory")
    for entry in directory.glob("www/*"):
        if entry.is_dir() and not _HOST.fullmatch(entry.name):
            raise ExtraError(f"{entry}: not a host name")
    path = state.STATE_DIR / "extra"
    path.unlink(missing_ok=True)
    path.symlink_to(directory.resolve())
    return path


def zones(directory: Path) -> list[Zone]:
    """The zones of DIR/zones, checked; `ExtraError` names the file that is wrong."""
    taken = {zone.origin: "the lab" for zone in own_zones() if zone.copy_of is None}
    found = []
    for file in sorted(directory.glob("zones/*.zone")):
        zone = _zone(file)
        if zone.origin in taken:
            raise ExtraError(f"{file}: {zone.origin} is already served by {taken[zone.origin]}")
        taken[zone.origin] = str(file)
        found.append(zone)
    return found


def _zone(file: Path) -> Zone:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ExtraError(f"{file}: {error}") from None
    match = _ORIGIN.search(text)
    if match is None or _INCLUDE.search(text):
        raise ExtraError(f"{file}: {'no $ORIGIN' if match is None else '$INCLUDE is not followed'}")
    origin = f"{match[1].lower().rstrip('.')}."
    text = f"{text[: match.start(1)]}{origin}{text[match.end(1) :]}"
    # Without -v it does not tell the line. Its exit code is 1 also for what is odd but can be served.
    argv = ["kzonecheck", "-v", "-d", "off", "-o", origin, "/dev/stdin"]
    checked = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)
    refused = "error" in checked.stderr.lower() or "Serious semantic error" in checked.stdout
    if refused or origin == ".":
        raise ExtraError(f"{file}: not a zone that can be served\n{checked.stdout}{checked.stderr}".rstrip())
    return Zone(origin, _SERVER, _NAME_SERVER, text, verbatim=True)
