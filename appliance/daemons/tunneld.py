"""`mpic-tunneld`: makes and keeps the namespaces and tunnels of every perspective."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.config import DEFAULT_PATH, Settings, load
from appliance.errors import ApplianceError, ConfigError
from appliance.linux import notify
from appliance.linux.capabilities import Capability, keep_only
from appliance.linux.log import set_up_logging
from appliance.linux.netlink import Netlink
from appliance.tunnels.desired import desired_namespaces
from appliance.tunnels.directories import own_directory, prepare
from appliance.tunnels.keys import read_keys
from appliance.tunnels.record import Record
from appliance.tunnels.removal import remove_all
from appliance.tunnels.service import Service, launcher_for

_log = logging.getLogger(__name__)
# Namespaces and mounts; links, routes and nftables; directories of other users; starting and ending backends as their user.
_CAPABILITIES = (
    Capability.SYS_ADMIN,
    Capability.NET_ADMIN,
    Capability.CHOWN,
    Capability.DAC_OVERRIDE,
    Capability.FOWNER,
    Capability.KILL,
    Capability.SETGID,
    Capability.SETUID,
    Capability.SETPCAP,
)


class AlreadyRunning(ApplianceError):
    """Another tunnel daemon keeps these tunnels."""


def main() -> None:
    """The command. Exit status 1: something could not be set up; 2: the configuration is wrong."""
    parser = argparse.ArgumentParser(prog="mpic-tunneld", description=__doc__)
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="configuration file (default: %(default)s)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--down", action="store_true", help="remove all tunnels, namespaces and the fence, then end")
    what.add_argument(
        "--prepare-directories", action="store_true", help="make the directories of all processes, then end"
    )
    arguments = parser.parse_args()
    set_up_logging()
    sys.exit(_run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    try:
        settings = load(arguments.config)
        if os.geteuid() != 0:
            raise ApplianceError("mpic-tunneld needs root")
        # Before capabilities are given up: without CAP_FSETID a directory silently loses its set-group-id bit.
        prepare(settings)
        keep_only(_CAPABILITIES)
        if arguments.prepare_directories:
            return 0
        with _only_one(settings):
            if arguments.down:
                asyncio.run(_down(settings))
            else:
                _warn_of_own_mounts()
                namespaces = desired_namespaces(settings, read_keys(settings, arguments.config))
                asyncio.run(_until_signalled(Service(settings, namespaces)))
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- for the person at the terminal
        return 2
    except (ApplianceError, OSError) as error:
        _log.error("%s", error)
        return 1
    return 0


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    with (own_directory(settings) / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"{file.name}: another mpic-tunneld is running") from error
        yield


def _warn_of_own_mounts() -> None:
    """In a mount namespace of its own, as `ip netns exec` gives, what is mounted on /run/netns is seen by nobody else."""
    with suppress(OSError):
        own, starter = (Path(f"/proc/{process}/ns/mnt").stat().st_ino for process in ("self", os.getppid()))
        if own != starter:
            _log.warning("started in a mount namespace of its own: others may not see the network namespaces made here")


async def _until_signalled(service: Service) -> None:
    running = asyncio.create_task(service.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        notify.stopping()
        _log.info("ending; the tunnels stay")


async def _down(settings: Settings) -> None:
    host = Netlink()
    try:
        await remove_all(host, launcher_for(settings), Record(own_directory(settings) / "record.json"))
    finally:
        host.close()
    settings.tunnel_report.unlink(missing_ok=True)
