"""A rotation that is broken off and taken up again only goes forward: by the keys that lie in the files and are changed to."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.config import Settings, WireGuardConfig
from appliance.tunnels import keys, rotation
from appliance.tunnels.keeper import Keeper, Unanswered
from appliance.tunnels.keys import Keys, active_slot, keys_in
from appliance.tunnels.rotation import RetireDue, Rotation, RotationRefused
from tests.unit.tunnels.test_keys import configured


class Tunnel:
    """Stands for a keeper. `used`: the keys that it was changed to, one after the other."""

    def __init__(self) -> None:
        self.used: list[Keys] = []
        self.answers = True

    async def change(self, desired: Keys, _timeout_s: float) -> None:
        if not self.answers:
            raise Unanswered("nothing comes back")
        self.used.append(desired)


class Site:
    """One tunnel with a key and a preshared key, and its daemon, which `restart` starts anew."""

    def __init__(self, directory: Path) -> None:
        psk = str(directory / "ams.psk")
        self.config = configured(directory, "10.77.0.3/32").model_copy(update={"preshared_key_file": Path(psk)})
        for path in (self.config.private_key_file, Path(psk)):
            rotation._make(path, os.urandom(32))
        self.first = self.now()
        self.restart()

    def restart(self) -> None:
        self.tunnel = Tunnel()
        settings = SimpleNamespace(perspectives=[SimpleNamespace(code="ams", wireguard=self.config)])
        self.rotation = Rotation(cast("Settings", settings), {"ams": cast("Keeper", self.tunnel)})

    def now(self) -> tuple[str, str | None]:
        """The private and the preshared key that a restart would use."""
        found = keys_in(self.config, active_slot(self.config))
        return found.private, found.preshared

    def files(self) -> set[str]:
        return {path.name for path in self.config.private_key_file.parent.iterdir()} - {"ams.key.slot"}

    async def play(self) -> None:
        """The steps as `rotate-keys.yml` takes them, from the first."""
        with contextlib.suppress(RetireDue):
            await self.rotation.prepare("ams")
        await self.rotation.activate("ams")
        await self.rotation.retire("ams")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    def as_it_is(_settings: Settings, _code: str, found: Keys) -> Any:
        return found

    def not_root(config: WireGuardConfig, path: Path) -> str:
        return path.read_text().strip()

    monkeypatch.setattr(rotation, "desired_tunnel", as_it_is)
    if os.geteuid() != 0:
        monkeypatch.setattr(keys, "_checked", not_root)
        monkeypatch.setattr(os, "chown", lambda *_: None)
    return Site(tmp_path)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    "taken", [("prepare",), ("prepare", "activate"), ("prepare", "prepare", "activate", "activate")]
)
async def test_what_was_broken_off_ends_with_the_new_keys_alone(
    site: Site, taken: tuple[str, ...], restarted: bool
) -> None:
    for step in taken:
        await getattr(site.rotation, step)("ams")
    prepared = keys_in(
        site.config, active_slot(site.config).other if "activate" not in taken else active_slot(site.config)
    )
    if restarted:
        site.restart()
    await site.play()
    assert site.now() == (prepared.private, prepared.preshared)
    assert set(site.now()).isdisjoint(site.first)
    assert site.files() == {"ams.key.second", "ams.psk.second"}
    second = site.now()
    await site.play()
    assert set(site.now()).isdisjoint({*site.first, *second})
    assert site.files() == {"ams.key", "ams.psk"}


async def test_a_key_that_was_in_use_is_offered_to_nobody_until_it_is_gone(site: Site) -> None:
    await site.rotation.prepare("ams")
    await site.rotation.activate("ams")
    with pytest.raises(RetireDue, match="run mpicctl keys retire ams"):
        await site.rotation.prepare("ams")
    assert (await site.rotation.activate("ams")).active
    assert len(site.tunnel.used) == 1
    # Half of it is gone: broken off within the step.
    site.config.private_key_file.unlink()
    with pytest.raises(RetireDue):
        await site.rotation.prepare("ams")
    await site.rotation.retire("ams")
    await site.rotation.retire("ams")
    assert site.files() == {"ams.key.second", "ams.psk.second"}


async def test_removed_but_not_noted_is_removed(site: Site) -> None:
    await site.rotation.prepare("ams")
    await site.rotation.activate("ams")
    for path in (site.config.private_key_file, site.config.private_key_file.with_name("ams.psk")):
        path.unlink()
    prepared = await site.rotation.prepare("ams")
    assert (await site.rotation.activate("ams")).public_key == prepared.public_key


async def test_the_way_back_is_asked_for_by_name(site: Site) -> None:
    with pytest.raises(RotationRefused, match="no former key"):
        await site.rotation.activate("ams", former=True)
    await site.rotation.prepare("ams")
    with pytest.raises(RotationRefused, match="no former key"):
        await site.rotation.activate("ams", former=True)
    await site.rotation.activate("ams")
    await site.rotation.activate("ams", former=True)
    assert site.now() == site.first
    with pytest.raises(RetireDue):
        await site.rotation.prepare("ams")
    await site.rotation.retire("ams")
    assert site.now() == site.first
    assert site.files() == {"ams.key", "ams.psk"}


async def test_a_change_that_could_not_be_noted_is_not_undone_and_loses_no_key(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    prepared = await site.rotation.prepare("ams")
    with monkeypatch.context() as disk:
        disk.setattr(rotation, "write_atomically", full)
        with pytest.raises(OSError, match="No space"):
            await site.rotation.activate("ams")
        with pytest.raises(RotationRefused, match="keys activate ams again"):
            await site.rotation.retire("ams")
    await site.play()
    assert len(site.tunnel.used) == 1, "once is enough"
    assert site.now() == (site.tunnel.used[0].private, site.tunnel.used[0].preshared)
    assert (await site.rotation.retire("ams")).public_key == prepared.public_key


async def test_a_silent_egress_node_leaves_all_as_it_was(site: Site) -> None:
    await site.rotation.prepare("ams")
    site.tunnel.answers = False
    with pytest.raises(Unanswered):
        await site.rotation.activate("ams")
    assert site.now() == site.first
    site.tunnel.answers = True
    await site.play()
    assert set(site.now()).isdisjoint(site.first)
