"""Removes what the record says was made here, and nothing else."""

from __future__ import annotations

from appliance.linux import netns, nft, sysctl
from appliance.linux.netlink import Netlink
from appliance.tunnels import fence
from appliance.tunnels.backend import Launcher
from appliance.tunnels.record import Entry, Record


async def remove(entry: Entry, host: Netlink, launcher: Launcher, record: Record) -> None:
    """Removes the interface, its backend, and the namespace if it was made here. Raises `ApplianceError`, `OSError`."""
    path = netns.path_of(entry.netns)
    await launcher.stop(entry.interface)
    await host.remove_link(entry.host_link or entry.interface)
    if netns.kind_of(path) is netns.NetnsFile.NETNS:
        inner = Netlink(path)
        try:
            await inner.remove_link(entry.interface)
        finally:
            inner.close()
    if entry.netns_made:
        await netns.delete(entry.netns)
    record.remove(entry)


async def remove_all(host: Netlink, launcher: Launcher, record: Record) -> None:
    """Removes everything that is on record, the fence too, and sets the host's sysctls back."""
    for entry in record.entries:
        await remove(entry, host, launcher, record)
    before = record.host_sysctls
    if before:
        present = sysctl.read(before)
        sysctl.write({key: value for key, value in before.items() if key in present})
        record.note_host_sysctls({})
    await nft.delete(fence.FAMILY, fence.TABLE)
    record.set_fence("")
