"""The tunnel daemon: a keeper per namespace, the fence, and the published report, on one event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

import msgspec

from appliance.config import Settings
from appliance.errors import ApplianceError
from appliance.linux.files import write_atomically
from appliance.linux.monitor import Monitor
from appliance.linux.netlink import Netlink
from appliance.linux.notify import notify
from appliance.linux.users import find_group, find_user
from appliance.model.tunnel import TunnelReport, TunnelState
from appliance.tunnels import fence
from appliance.tunnels.backend import Launcher, SpawnLauncher, SystemdLauncher
from appliance.tunnels.control import listening
from appliance.tunnels.desired import DesiredNamespace
from appliance.tunnels.directories import own_directory
from appliance.tunnels.handles import Handles
from appliance.tunnels.keeper import Keeper, Surroundings
from appliance.tunnels.record import Record
from appliance.tunnels.removal import remove
from appliance.tunnels.rotation import Rotation

_log = logging.getLogger(__name__)
_PUBLISH_S = 1.0
_SETTLE_S = 0.1
_FENCE_S = 5.0


def launcher_for(settings: Settings) -> Launcher:
    """The configured way to start wireguard-go. Raises `NoSuchUser`."""
    if settings.wireguard_go_launcher == "systemd":
        return SystemdLauncher()
    return SpawnLauncher(find_user(settings.users.wireguard), own_directory(settings))


class Service:
    """Runs until cancelled. Stopping it stops no tunnel."""

    def __init__(self, settings: Settings, namespaces: tuple[DesiredNamespace, ...]) -> None:
        self._settings = settings
        self._record = Record(own_directory(settings) / "record.json")
        self._launcher = launcher_for(settings)
        primary = next((n for n in namespaces if n.code == settings.primary.code), None)
        self._fence_rules = fence.render(settings, primary)
        self._namespaces = namespaces
        self._publish = asyncio.Event()
        self._host_changed = asyncio.Event()
        self._keepers: dict[str, Keeper] = {}

    async def run(self) -> None:
        """Puts the fence up, removes what is no longer configured, then keeps every namespace. Raises `ApplianceError`."""
        await fence.keep(self._fence_rules, self._record)
        host = Netlink()
        handles = Handles(self._namespace_changed)
        monitor = Monitor(self._host_changed.set)
        try:
            await self._remove_former(host)
            around = Surroundings(host, handles, self._launcher, self._record, self._publish.set)
            self._keepers = {n.netns: Keeper(n, around) for n in self._namespaces}
            group = find_group(self._settings.users.operator_group)
            rotation = Rotation(self._settings, {keeper.desired.code: keeper for keeper in self._keepers.values()})
            async with (
                listening(self._settings.tunnel_control, group, rotation),
                asyncio.TaskGroup() as tasks,
            ):
                for keeper in self._keepers.values():
                    tasks.create_task(keeper.run())
                tasks.create_task(self._publish_always())
                tasks.create_task(self._follow_host())
                tasks.create_task(self._keep_fence())
        finally:
            monitor.close()
            handles.close()
            host.close()

    def _namespace_changed(self, netns: str) -> None:
        self._keepers[netns].wake()

    async def _remove_former(self, host: Netlink) -> None:
        wanted = {(n.netns, n.interface) for n in self._namespaces}
        for entry in self._record.entries:
            if (entry.netns, entry.interface) not in wanted:
                _log.info("%s: no longer configured, removing %s", entry.code, entry.netns)
                await remove(entry, host, self._launcher, self._record)

    async def _publish_always(self) -> None:
        # Until then a former run's report stands: its tunnels live on.
        for keeper in self._keepers.values():
            await keeper.has_tried.wait()
        while True:
            self._publish.clear()
            tunnels = tuple(keeper.status() for keeper in self._keepers.values())
            report = TunnelReport(updated_s=int(time.time()), tunnels=tunnels)
            write_atomically(self._settings.tunnel_report, msgspec.json.encode(report), mode=0o644)
            up = sum(tunnel.state is not TunnelState.DOWN for tunnel in tunnels)
            notify(ready=True, status=f"{up} of {len(tunnels)} usable")
            with suppress(TimeoutError):
                async with asyncio.timeout(_PUBLISH_S):
                    await self._publish.wait()

    async def _follow_host(self) -> None:
        while True:
            await self._host_changed.wait()
            await asyncio.sleep(_SETTLE_S)
            self._host_changed.clear()
            for keeper in self._keepers.values():
                try:
                    await keeper.host_changed()
                except (ApplianceError, OSError) as error:
                    _log.warning("%s: %s", keeper.desired.code, error)

    async def _keep_fence(self) -> None:
        while True:
            await asyncio.sleep(_FENCE_S)
            try:
                if await fence.keep(self._fence_rules, self._record):
                    _log.warning("the fence was not as it should be; it is put up again")
            except ApplianceError as error:
                _log.error("the fence cannot be put up: %s", error)
