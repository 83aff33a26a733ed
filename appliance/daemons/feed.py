"""`mpic-feed`: fetches data files once and ends; for a timer. No privileges; everyone else reads what it puts in place."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance import __version__
from appliance.config import DEFAULT_PATH, Settings, load
from appliance.errors import ConfigError
from appliance.rpki.feed import FetchFailed, fetch_beacons, fetch_vrps

# sysexits.h
_EX_NOPERM = 77
_EX_CONFIG = 78


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Exits with 0 where everything was fetched, 1 where something was not (what was there stays), 77 as root,
    78 where the configuration is wrong."""
    parser = argparse.ArgumentParser(prog="mpic-feed", description=__doc__)
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    path = parser.parse_args(arguments).config
    if os.geteuid() == 0:
        sys.stderr.write("mpic-feed: runs as root; start it as the configured user\n")
        sys.exit(_EX_NOPERM)
    try:
        failures = list(fetch_all(load(path)))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(_EX_CONFIG)
    for failure in failures:
        sys.stderr.write(f"mpic-feed: {failure}\n")
    sys.exit(1 if failures else 0)


def fetch_all(settings: Settings) -> Iterator[str]:
    """Fetches what is configured; why something could not be. One failure does not keep the other file from being fetched."""
    rov, feed = settings.rov, settings.rov.feed
    if feed.vrp_url is not None and rov.vrp_file is not None:
        try:
            count = fetch_vrps(feed.vrp_url, rov.vrp_file, timeout_s=feed.timeout_s, ca_file=feed.ca_file)
            sys.stderr.write(f"mpic-feed: {rov.vrp_file}: {count} VRPs\n")
        except FetchFailed as error:
            yield str(error)
    if feed.beacons_url is not None and rov.beacons_file is not None:
        try:
            count = fetch_beacons(feed.beacons_url, rov.beacons_file, timeout_s=feed.timeout_s, ca_file=feed.ca_file)
            sys.stderr.write(f"mpic-feed: {rov.beacons_file}: {count} beacons\n")
        except FetchFailed as error:
            yield str(error)


if __name__ == "__main__":
    main()
