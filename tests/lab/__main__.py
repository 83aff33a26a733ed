"""`python -m tests.lab up|down|status [--json]`, as root; `LAB_EXTRA=DIR` adds to `up`.

`LAB_DELAYS=1`: the appliance's round-trip times fit the map."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.lab import report
from tests.lab.extra import ExtraError
from tests.lab.lab import Lab, interruptible
from tests.lab.netns import CommandError
from tests.lab.state import LabBusyError
from tests.lab.wait import NotReachedError
from tests.lab.web import ConfigurationError

_TOOLS: Final = (
    "bird birdc curl ip knotc knotd kzonecheck nginx nsenter setpriv stayrtr tcpdump".split()  # noqa: SIM905
)
_FAILURES: Final = (CommandError, ConfigurationError, ExtraError, LabBusyError, NotReachedError)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: done (`status`: up); 1: not done, and why on stderr; 2: cannot be tried here."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="The emulated Internet.")
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--appliance", action="store_true", help="up: with the appliance and its egress nodes")
    parser.add_argument("--json", action="store_true", help="print the lab's state as JSON")
    chosen = parser.parse_args(arguments)
    if reason := _unable():
        print(f"lab: {reason}", file=sys.stderr)
        return 2
    lab = Lab(_extra_directory())
    try:
        if chosen.command == "up":
            _up(lab, with_appliance=chosen.appliance)
        elif chosen.command == "down":
            lab.down()
    except _FAILURES as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted, and taken down", file=sys.stderr)
        return 130
    if chosen.json:
        print(json.dumps(report.as_json(lab), indent=2))
    else:
        print(report.for_people(lab))
    return 0 if chosen.command == "down" or lab.is_up() else 1


def _up(lab: Lab, *, with_appliance: bool) -> None:
    if lab.is_up():
        print("lab: already up", file=sys.stderr)
        return
    with interruptible():
        lab.up()
        if with_appliance:
            _start_appliance(lab)
        lab.leave_running()


def _start_appliance(lab: Lab) -> None:
    # Imported here: the lab by itself needs nothing of the product.
    from tests.lab.appliance import Appliance  # noqa: PLC0415
    from tests.lab.places import Delays  # noqa: PLC0415

    try:
        Appliance(lab.step).up(delays=Delays() if os.environ.get("LAB_DELAYS") else None)
    except BaseException:
        lab.down()
        raise


def _extra_directory() -> Path | None:
    value = os.environ.get("LAB_EXTRA")
    return Path(value) if value else None


def _unable() -> str | None:
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    return f"missing programs: {', '.join(missing)}" if missing else None


if __name__ == "__main__":
    raise SystemExit(main())
