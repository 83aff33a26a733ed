"""A key is rotated under a stream of checks, and rotated again: none is lost, no secret is told, a wrong step changes nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.asking import KEY_AUTHORIZATION, TOKEN
from tests.e2e.stream import Stream, wrong
from tests.e2e.test_operator import mpicctl
from tests.lab import Lab, state, topology, uplink
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

CODE = "ams"
STREAM = 6  # one of each question


@pytest.fixture
def token(lab: Lab) -> Iterator[None]:
    lab.set_token("honest.example", TOKEN, KEY_AUTHORIZATION)
    yield
    lab.clear_token("honest.example", TOKEN)


def keys(appliance: Appliance, step: str) -> dict[str, Any]:
    done = mpicctl(appliance, "keys", step, CODE, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def rotate(appliance: Appliance, stream: Stream, name: str) -> dict[str, Any]:
    prepared = keys(appliance, "prepare")
    assert prepared["active"] is False
    peer = {"name": name, "public_key": prepared["public_key"], "addresses": prepared["addresses"]}
    appliance.set_peers(CODE, [*appliance.peers(CODE), peer])
    stream.wait_for_more(STREAM)
    active = keys(appliance, "activate")
    assert active == prepared | {"active": True}
    stream.wait_for_more(STREAM)
    assert keys(appliance, "retire") == active
    appliance.set_peers(CODE, [peer])
    stream.wait_for_more(STREAM)
    return active


@pytest.mark.usefixtures("token")
def test_a_key_is_rotated_there_and_back_without_a_lost_check(lab: Lab, appliance: Appliance) -> None:
    directory = appliance.settings.perspectives[0].wireguard.private_key_file.parent
    before = (directory / f"{CODE}.key").read_text().strip()
    site = topology.PRIMARY
    with lab.capture(site.namespace, site.interface) as capture, Stream(appliance) as stream:
        first = rotate(appliance, stream, "appliance-second")
        assert not (directory / f"{CODE}.key").exists()
        assert (directory / f"{CODE}.key.second").stat().st_mode & 0o777 == 0o600
        assert mpicctl(appliance, "config", "check").returncode == 0, "the key in use is what counts"
        appliance.kill("mpic-tunneld")
        appliance.start_tunneld()
        stream.wait_for_more(STREAM)
        second = rotate(appliance, stream, "appliance")
    assert stream.unanswered == []
    assert [asked for asked in stream.asked if wrong(asked)] == []
    lost = [
        (asked.trace, part["perspective_code"], part["check_response"]["errors"])
        for asked in stream.asked
        if asked.honest
        for part in asked.answer["perspectives"]
        if not part["check_response"]["check_passed"]
    ]
    assert lost == []
    assert {asked.answer["quorum"] for asked in stream.asked if asked.honest} == {"6/6", "5/5"}
    assert uplink.others(capture.packets()) == []
    after = (directory / f"{CODE}.key").read_text().strip()
    assert len({before, after}) == 2
    assert first["public_key"] != second["public_key"]
    said = "".join(path.read_text(errors="replace") for path in state.directory("log").glob("*.log"))
    assert first["public_key"] in said, "the public half is told"
    assert after not in said
    assert after not in json.dumps([first, second])


def test_a_key_that_the_egress_does_not_know_is_not_changed_to(appliance: Appliance) -> None:
    prepared = keys(appliance, "prepare")
    assert keys(appliance, "prepare") == prepared, "once more, it shows the same"
    try:
        done = mpicctl(appliance, "keys", "activate", CODE)
        assert done.returncode == 1
        assert "did not answer" in done.stdout
        appliance.wait_for(set(appliance.codes))
        interface = appliance.settings.perspectives[0].wireguard.interface
        shown = subprocess.run(["wg", "show", interface, "public-key"], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() != prepared["public_key"]
    finally:
        keys(appliance, "retire")


def test_without_a_prepared_key_there_is_nothing_to_activate(appliance: Appliance) -> None:
    done = mpicctl(appliance, "keys", "activate", CODE)
    assert done.returncode == 1
    assert "no key is prepared" in done.stdout
    assert mpicctl(appliance, "keys", "prepare", "home").returncode == 1
    appliance.wait_for(set(appliance.codes))


def test_only_operators_reach_the_tunnel_daemon(appliance: Appliance) -> None:
    control: Path = appliance.settings.tunnel_control
    assert control.stat().st_mode & 0o777 == 0o660
    assert control.stat().st_uid == 0
    assert control.stat().st_gid == 64112
