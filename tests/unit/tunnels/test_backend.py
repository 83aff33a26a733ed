"""Kernel or user space: what decides."""

from __future__ import annotations

import errno
from typing import Literal

import pytest

from appliance.linux.netlink import NetlinkRefused
from appliance.tunnels import backend


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
