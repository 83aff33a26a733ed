"""The thin wrappers, where only a real kernel can answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.linux import netns, sysctl
from appliance.linux.monitor import Monitor
from appliance.linux.netlink import Netlink, NetlinkRefused
from appliance.tunnels import endpoint_lookup
from appliance.tunnels.endpoint import NoEndpoint, look_up
from tests.lab import runtime
from tests.system.small_net import PREFIX, run

pytestmark = pytest.mark.system
NAME = f"{PREFIX}-linux"


@pytest.fixture
def namespace() -> Iterator[Path]:
    run("ip", "netns", "add", NAME)
    yield netns.path_of(NAME)
    run("ip", "netns", "del", NAME)


async def test_a_typo_creates_nothing(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    for path in (netns.path_of(f"{PREFIX}-typo"), plain, Path("/proc/self/ns/uts")):
        with pytest.raises(OSError, match=r"No such file|Invalid argument"):
            Netlink(path)
    assert not netns.path_of(f"{PREFIX}-typo").exists()


def test_each_kind_of_file_is_told(namespace: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert netns.kind_of(namespace) is netns.NetnsFile.NETNS
    assert netns.kind_of(plain) is netns.NetnsFile.PLAIN
    assert netns.kind_of(Path("/proc/self/ns/uts")) is netns.NetnsFile.PLAIN
    assert netns.kind_of(Path("/proc/self/ns/net")) is netns.NetnsFile.OWN
    assert netns.kind_of(tmp_path / "none") is netns.NetnsFile.MISSING


def test_inside_is_left_again_also_after_an_error(namespace: Path) -> None:
    home = Path("/proc/thread-self/ns/net").stat().st_ino
    with netns.inside(namespace):
        assert Path("/proc/thread-self/ns/net").stat().st_ino == namespace.stat().st_ino
    assert Path("/proc/thread-self/ns/net").stat().st_ino == home
    with pytest.raises(RuntimeError), netns.inside(namespace):
        raise RuntimeError
    assert Path("/proc/thread-self/ns/net").stat().st_ino == home


def test_sysctls_are_those_of_the_namespace(namespace: Path) -> None:
    key = "net/ipv4/conf/all/forwarding"
    outside = sysctl.read([key])
    sysctl.write({key: "1"}, namespace)
    assert sysctl.read([key, "net/no/such"], namespace) == {key: "1"}
    assert sysctl.read([key]) == outside


async def test_links_and_errors_are_those_of_the_namespace(namespace: Path) -> None:
    inner = Netlink(namespace)
    try:
        assert set(await inner.links()) == {"lo"}
        with pytest.raises(NetlinkRefused, match="ENODEV"):
            await inner.set_up("nosuch0")
        await inner.remove_link("nosuch0")
    finally:
        inner.close()


async def test_names_are_looked_up_by_a_process_without_privileges(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clone may lie where that process cannot go.
    installed = runtime.of_this_process()
    monkeypatch.setattr(sys, "executable", str(installed.python))
    monkeypatch.setattr(endpoint_lookup, "__file__", str(installed.source("appliance/tunnels/endpoint_lookup.py")))
    assert {str(address) for address in await look_up("localhost")} <= {"127.0.0.1", "::1"}
    with pytest.raises(NoEndpoint):
        await look_up("-no such name-")


async def test_the_monitor_tells_of_a_change(namespace: Path) -> None:
    told = asyncio.Event()
    monitor = Monitor(told.set, namespace)
    try:
        run("ip", "-n", NAME, "link", "set", "lo", "up")
        async with asyncio.timeout(5):
            await told.wait()
    finally:
        monitor.close()
