"""The units as systemd's own tools see them, and what mpic-generator makes of a configuration."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.packaging.modules import module_of

PACKAGING = Path(__file__).parents[2] / "packaging"
UNITS = PACKAGING / "systemd"
# Exposure, in tenths, that `systemd-analyze security` may find at most. None is lowered by IPAddressDeny=, which systemd
# does not enforce everywhere.
LIMITS = {
    "mpicd.service": 20,
    "mpic-perspective@.service": 20,
    "mpic-resolver@.service": 20,
    "mpic-wg@.service": 20,
    "mpic-tunneld.service": 50,
    "mpic-egress.service": 50,
    "mpic-egress-status.service": 20,
    "mpic-feed.service": 20,
    "mpic-echo.service": 20,
}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return module_of(UNITS / "generator.py")


@pytest.fixture
def document() -> dict[str, Any]:
    return tomllib.loads((PACKAGING / "examples" / "appliance.toml").read_text())


def test_every_service_has_a_limit() -> None:
    assert {path.name for path in UNITS.glob("*.service")} == set(LIMITS)


@pytest.mark.parametrize("unit", LIMITS)
def test_exposure_is_within_its_limit(unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={LIMITS[unit]}", UNITS / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", LIMITS)
def test_no_unit_relies_on_address_filters(unit: str) -> None:
    assert "IPAddressDeny" not in (UNITS / unit).read_text()


def test_systemd_takes_every_unit(tmp_path: Path, generator: ModuleType, document: dict[str, Any]) -> None:
    system = tmp_path / "etc/systemd/system"
    system.mkdir(parents=True)
    for unit in UNITS.glob("*.*"):
        if unit.suffix != ".py":
            shutil.copy(unit, system)
    generator.write(generator.units(document), system)
    for needed in ("basic", "sysinit", "shutdown", "network-online", "time-sync", "timers", "multi-user"):
        (system / f"{needed}.target").write_text("[Unit]\nDescription=there\n")
    for command in (
        *(f"usr/lib/mpic-appliance/bin/{name}" for name in ("mpicd", "mpic-perspective", "mpic-tunneld", "mpic-feed")),
        *(f"usr/lib/mpic-egress/bin/{name}" for name in ("mpic-egress", "mpic-echo")),
        *("usr/sbin/unbound", "usr/bin/wireguard-go", "usr/bin/rm"),
    ):
        file = tmp_path / command
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o755)
    names = ["mpic.target", "mpicd.service", "mpic-tunneld.service", "mpic-egress.service", "mpic-egress.timer"]
    names += ["mpic-egress-status.service", "mpic-feed.service", "mpic-feed.timer", "mpic-echo.service"]
    names += [f"mpic-{kind}@ams.service" for kind in ("perspective", "resolver")] + ["mpic-wg@wg-ams.service"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", f"--root={tmp_path}", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "mpic" in line]
    assert complaints == []
    assert done.returncode == 0, done.stderr


def test_every_perspective_gets_worker_and_resolver_in_its_namespace(
    tmp_path: Path, generator: ModuleType, document: dict[str, Any]
) -> None:
    document["perspectives"][0]["netns"] = "elsewhere"
    generator.write(generator.units(document), tmp_path)
    codes = ["hq", *(perspective["code"] for perspective in document["perspectives"])]
    wanted = {f"mpic-{kind}@{code}.service" for code in codes for kind in ("perspective", "resolver")}
    assert {link.name for link in (tmp_path / "mpic.target.wants").iterdir()} == wanted
    for kind in ("perspective", "resolver"):
        text = (tmp_path / f"mpic-{kind}@ams.service.d" / "10-mpic.conf").read_text()
        assert "NetworkNamespacePath=/run/netns/elsewhere\n" in text
    assert "User=mpic-primary\n" in (tmp_path / "mpic-perspective@hq.service.d" / "10-mpic.conf").read_text()
    assert "User=mpic-resolver\n" in (tmp_path / "mpic-resolver@hq.service.d" / "10-mpic.conf").read_text()


@pytest.mark.parametrize(
    ("rov", "wanted"),
    [
        (None, False),
        ({"policy": "warn"}, False),
        ({"feed": {"timeout_s": 60.0}}, False),
        ({"vrp_file": "/var/lib/mpic-feed/vrps.json", "feed": {"vrp_url": "https://rpki.example/vrps.json"}}, True),
        ({"feed": {"beacons_url": "https://rpki.example/beacons.json"}}, True),
    ],
)
def test_the_feed_is_wanted_where_there_is_something_to_fetch(
    tmp_path: Path, generator: ModuleType, document: dict[str, Any], rov: dict[str, Any] | None, wanted: bool
) -> None:
    if rov is not None:
        document["rov"] = rov
    generator.write(generator.units(document), tmp_path, feed=generator.fetches(document))
    assert ((tmp_path / "mpic.target.wants" / "mpic-feed.timer").is_symlink()) is wanted


def test_a_primary_of_the_callers_has_no_units(generator: ModuleType, document: dict[str, Any]) -> None:
    document["primary"] = {"kind": "caller", "code": "hq", "place": document["primary"]["place"]}
    assert not any("@hq." in unit for unit in generator.units(document))


@pytest.mark.parametrize(
    ("key", "value"),
    [("netns", "x\nExecStart=/bin/sh"), ("netns", "../../proc/1/ns/net"), ("code", "a/b"), ("code", "%i"), ("code", 5)],
)
def test_nothing_else_gets_into_a_unit(
    generator: ModuleType, document: dict[str, Any], key: str, value: object
) -> None:
    document["perspectives"][0][key] = value
    with pytest.raises(generator.WrongValueError):
        generator.units(document)


def test_the_primarys_user_can_be_another(generator: ModuleType, document: dict[str, Any]) -> None:
    document["users"] = {"primary": "lonely", "resolver": 64104}
    units = generator.units(document)
    assert "User=lonely\n" in units["mpic-perspective@hq.service"]
    assert "User=64104\n" in units["mpic-resolver@ams.service"]
