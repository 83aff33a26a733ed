"""Kernel or user space: what decides."""

from __future__ import annotations

import errno
from typing import Literal

import pytest

from appliance.linux.netlink import NetlinkRefused, Route
from appliance.tunnels import actions, backend
from appliance.tunnels.execute import Executor
from tests.unit.tunnels.world import TUNNEL


class Host:
    def __init__(self, number: int) -> None:
        self.number = number

    async def add_wireguard(self, name: str) -> None:
        if self.number:
            raise NetlinkRefused(f"link add {name}", self.number)


class Launcher:
    def __init__(self) -> None:
        self.started: list[str] = []

    async def start(self, interface: str) -> None:
        self.started.append(interface)

    async def stop(self, interface: str) -> None:
        raise AssertionError(interface)


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Launcher:
    async def alive(interface: str, host: object) -> None:
        assert interface == "wg-ams"

    monkeypatch.setattr(backend, "_alive", alive)
    return Launcher()


async def create(number: int, wanted: Literal["auto", "kernel", "wireguard-go"], launcher: Launcher) -> None:
    await backend.create("wg-ams", wanted, Host(number), launcher)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "wanted", "started"),
    [
        (0, "auto", []),
        (errno.EOPNOTSUPP, "auto", ["wg-ams"]),
        (0, "kernel", []),
        (0, "wireguard-go", ["wg-ams"]),
    ],
)
async def test_user_space_is_for_kernels_without(
    launcher: Launcher, number: int, wanted: Literal["auto", "kernel", "wireguard-go"], started: list[str]
) -> None:
    await create(number, wanted, launcher)
    assert launcher.started == started


@pytest.mark.parametrize(
    ("number", "wanted"), [(errno.EPERM, "auto"), (errno.EEXIST, "auto"), (errno.EOPNOTSUPP, "kernel")]
)
async def test_any_other_refusal_is_one(
    launcher: Launcher, number: int, wanted: Literal["auto", "kernel", "wireguard-go"]
) -> None:
    with pytest.raises(NetlinkRefused):
        await create(number, wanted, launcher)
    assert launcher.started == []


async def test_error_95_from_a_route_is_no_fallback(launcher: Launcher) -> None:
    """A route without its family is refused with the same number as a WireGuard link where the kernel has none."""

    class Inner:
        async def add_route(self, route: Route) -> None:
            raise NetlinkRefused(f"route add {route.destination}", errno.EOPNOTSUPP)

    class InnerHandles:
        def netlink(self, name: str) -> Inner:
            assert name == TUNNEL.netns
            return Inner()

    executor = Executor(TUNNEL, None, InnerHandles(), launcher, None)  # type: ignore[arg-type]
    with pytest.raises(NetlinkRefused):
        await executor.execute(actions.AddRoute(next(iter(TUNNEL.routes))), None)
    assert launcher.started == []
