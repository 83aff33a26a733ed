"""The playbooks: what they are refused for before any change, and that what they write is what the programs read."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from geographiclib.geodesic import Geodesic

from appliance.config import load
from appliance.policy.fleet import fleet_from, shortfalls
from egress.config import EgressConfig
from egress.echo import keygen
from tests.lab.appliance_files import KeyPair
from tests.packaging.modules import module_of
from tests.packaging.test_files import DAY_OF_LAST_ROW, REPOSITORY

ANSIBLE = REPOSITORY / "ansible"
# As on every machine that a play is for; the name of a virtual environment's would have to be without a space.
PYTHON = "/usr/bin/python3"
_PLAYBOOKS = ("site", "add-egress", "remove-egress", "rotate-keys", "upgrade")
Inventory = dict[str, Any]
_FRANKFURT = {"city": "Frankfurt", "country": "DE", "latitude": 50.11, "longitude": 8.68}
_ANCHOR = {"name": "fra", "address": "203.0.113.7", "public_key": f"{'A' * 43}=", "place": _FRANKFURT}


def ansible(tmp_path: Path, *argv: str, first_in_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    bin_directory = Path(sys.executable).parent
    before = "" if first_in_path is None else f"{first_in_path}:"
    environment = {
        "PATH": f"{before}{bin_directory}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
    }
    return subprocess.run(
        [bin_directory / argv[0], *argv[1:]], cwd=ANSIBLE, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    return module_of(ANSIBLE / "playbooks/filter_plugins/mpic.py")


@pytest.fixture
def inventory() -> Inventory:
    """The example's hosts with group variables, by group."""
    hosts = yaml.safe_load((ANSIBLE / "inventory/example/hosts.yml").read_text())["mpic"]["children"]
    common = yaml.safe_load((ANSIBLE / "inventory/example/group_vars/mpic.yml").read_text())
    return {
        group: {name: common | values for name, values in hosts[group]["hosts"].items()}
        for group in ("mpic_egresses", "mpic_appliances")
    }


def _written(inventory: Inventory, path: Path) -> Path:
    document = {"mpic": {"children": {group: {"hosts": hosts} for group, hosts in inventory.items()}}}
    path.write_text(yaml.safe_dump(document))
    return path


def _problems(rules: ModuleType, inventory: Inventory) -> list[str]:
    egresses, appliances = (
        [{"inventory_hostname": name} | values for name, values in inventory[group].items()]
        for group in ("mpic_egresses", "mpic_appliances")
    )
    found: list[str] = rules.inventory_problems(egresses, appliances)
    return found


def test_the_example_is_accepted(rules: ModuleType, inventory: Inventory) -> None:
    assert _problems(rules, inventory) == []


def _without_latitude(hosts: Inventory) -> None:
    del hosts["ams"]["egress_place"]["latitude"]


def _without_place(hosts: Inventory) -> None:
    del hosts["ams"]["egress_place"]


def _too_near(hosts: Inventory) -> None:
    hosts["nyc"]["egress_place"] = _FRANKFURT


def _same_index(hosts: Inventory) -> None:
    hosts["nyc"]["egress_index"] = hosts["ams"]["egress_index"]


def _same_address(hosts: Inventory) -> None:
    hosts["nyc"]["egress_addresses"] = hosts["ams"]["egress_addresses"]


def _same_port(hosts: Inventory) -> None:
    hosts["nyc"]["egress_echo_port"] = 51820


def _elsewhere(hosts: Inventory) -> None:
    hosts["nyc"]["egress_place"] = {"city": "Chicago", "country": "IL", "latitude": 41.88, "longitude": -87.63}


def _swapped(hosts: Inventory) -> None:
    hosts["ams"]["egress_place"] = {"city": "Amsterdam", "country": "NL", "latitude": 4.9, "longitude": 52.37}


def _boolean(hosts: Inventory) -> None:
    hosts["ams"]["egress_place"]["country"] = False


def _not_a_number(hosts: Inventory) -> None:
    hosts["ams"]["egress_place"]["latitude"] = float("nan")


def _without_reason(hosts: Inventory) -> None:
    hosts["ams"]["egress_place"]["country_override"] = "because"


_OUTSIDE = "at most 50 km are tolerated, as the country decides the RIR region (BR 3.2.2.9)"
_REMEDY = "Correct country or coordinates, or give the reason as country_override"
WRONG = [
    (
        _elsewhere,
        "nyc: egress_place.country: latitude 41.88, longitude -87.63 lies in US (United States of America), "
        f"9,807 km outside of IL (Israel); {_OUTSIDE}. {_REMEDY}",
    ),
    (
        _swapped,
        "ams: egress_place.country: latitude 4.9, longitude 52.37 lies in SO (Somalia), 6,663 km outside of "
        f"NL (Kingdom of the Netherlands); latitude and longitude look swapped; {_OUTSIDE}. {_REMEDY}",
    ),
    (_boolean, "ams: egress_place.country: must be an ISO 3166-1 code of two capital letters, in quotes"),
    (_not_a_number, "ams: egress_place.latitude: must be a number of degrees of at most 90"),
    (_without_reason, "ams: egress_place.country_override: must be a reason of 10 to 200 characters in one line"),
    (_without_latitude, "ams: egress_place.latitude: must be a number of degrees of at most 90"),
    (_without_place, "ams: egress_place is missing"),
    (_too_near, "ams: 364 km from nyc; BR 3.2.2.9 asks for at least 500 km"),
    (_same_index, "nyc: egress_index 0 is already that of ams"),
    (_same_address, "nyc: egress_addresses 198.51.100.11 is already that of ams"),
    (_same_port, "nyc: egress_echo_port 51820 is already egress_listen_port"),
]


@pytest.mark.parametrize(("spoil", "rule"), WRONG)
def test_a_wrong_inventory_is_refused_with_the_rule(
    rules: ModuleType, inventory: Inventory, spoil: Callable[[Inventory], None], rule: str
) -> None:
    wrong = copy.deepcopy(inventory)
    spoil(wrong["mpic_egresses"])
    assert _problems(rules, wrong) == [rule]


_AT = "appliance-1: appliance_place_anchors.0"


@pytest.mark.parametrize(
    ("changed", "rules_broken"),
    [
        ({"appliance_place_anchors": [_ANCHOR]}, []),
        (
            {
                "appliance_place_anchors": [
                    _ANCHOR | {"place": {"city": "Frankfurt", "country": "DE", "latitude": 50.11}}
                ]
            },
            [f"{_AT}.place.longitude: must be a number of degrees of at most 180"],
        ),
        (
            {"appliance_place_anchors": [{"name": "Fra", "address": "fra.example", "place": _FRANKFURT}]},
            [
                f"{_AT}.name: must match [a-z0-9][a-z0-9-]{{0,30}}",
                f"{_AT}.public_key: must match [A-Za-z0-9+/]{{42}}[AEIMQUYcgkosw048]=",
                f"{_AT}.address: must be an IP address",
            ],
        ),
        ({"appliance_place_anchors": [_ANCHOR | {"name": "ams"}]}, [f"{_AT}.name: ams is already taken"]),
        ({"appliance_vrp_url": "validator"}, ["appliance-1: appliance_vrp_url: must begin with http(s)://"]),
        ({"appliance_beacons_url": "http://b/"}, ["appliance-1: appliance_beacons_url: must begin with https://"]),
        (
            {"appliance_vrp_url": "https://v/", "appliance_extra": "[rov]\nschedule = false"},
            ["appliance-1: appliance_extra: has [rov], which is made from appliance_rov"],
        ),
        ({"appliance_extra": "[rov]\nschedule = false"}, []),
        ({"appliance_extra": "[rov"}, ["appliance-1: appliance_extra: not TOML: "]),
    ],
)
def test_what_the_appliance_is_to_have_is_held_to_the_rules(
    rules: ModuleType, inventory: Inventory, changed: Inventory, rules_broken: list[str]
) -> None:
    inventory["mpic_appliances"]["appliance-1"] |= changed
    found = _problems(rules, inventory)
    assert len(found) == len(rules_broken)
    assert all(line.startswith(rule) for line, rule in zip(found, rules_broken, strict=True)), found


def test_too_few_anchors_are_warned_of(rules: ModuleType, inventory: Inventory) -> None:
    def warnings() -> list[str]:
        found: list[str] = rules.inventory_warnings(
            *(
                [{"inventory_hostname": name} | values for name, values in inventory[group].items()]
                for group in ("mpic_egresses", "mpic_appliances")
            )
        )
        return found

    assert warnings() == []
    # Nobody is an anchor of its own place: the three that are left suffice for the others alone.
    for code, off in (("ams", False), ("nyc", "no")):
        inventory["mpic_egresses"][code]["egress_echo"] = off
    unproven, bare = warnings()
    assert unproven.startswith("appliance-1: fewer than 3 authenticated anchors")
    assert unproven.endswith("the place of sin, sao, jnb is not proven")
    assert bare.startswith("appliance-1: no more than 3 authenticated anchors")
    assert bare.endswith("the place of hq, ams, nyc lapses with the loss of one")
    overridden = {
        "city": "Bonn",
        "country": "NL",
        "latitude": 50.5,
        "longitude": 8.7,
        "country_override": "a test of it",
    }
    inventory["mpic_appliances"]["appliance-1"]["appliance_place_anchors"] = [_ANCHOR, _ANCHOR | {"place": overridden}]
    (warning,) = warnings()
    assert warning.startswith(
        "appliance-1: appliance_place_anchors.1.place.country: latitude 50.5, longitude 8.7 lies in DE"
    )
    assert warning.endswith("country_override: a test of it")
    inventory["mpic_appliances"]["appliance-1"]["appliance_place_anchors"] = [_ANCHOR, _ANCHOR]
    assert warnings() == []
    inventory["mpic_appliances"]["appliance-1"]["appliance_anchors"] = ["https://a.example/", "http://b.example/"]
    (forgeable,) = warnings()
    assert forgeable.startswith("appliance-1: appliance_anchors: http://b.example/ proves nothing")


def test_a_key_twice_is_refused(rules: ModuleType) -> None:
    egresses = [{"inventory_hostname": name, "egress_public_key": key} for name, key in (("ams", "a"), ("nyc", ""))]
    keys = [{"code": "ams", "public_key": "a"}, {"code": "nyc", "public_key": "b"}]
    appliances = [{"inventory_hostname": "box", "appliance_public_keys": keys}, {"inventory_hostname": "new"}]
    assert rules.key_problems(egresses, appliances) == [
        "ams: has the same key as box/ams; each end of each tunnel needs its own"
    ]
    echoes = [{"inventory_hostname": name, "egress_echo_server": {"public_key": "a"}} for name in ("ams", "nyc")]
    assert rules.key_problems([*echoes, {"inventory_hostname": "sin", "egress_echo_server": {}}], appliances) == [
        "ams: has the same key as nyc; each mpic-echo needs its own"
    ]
    assert rules.key_problems(echoes[:1], [{"appliance_place_anchors": [_ANCHOR | {"public_key": "a"}]}]) == [
        "ams: has the same key as fra; each mpic-echo needs its own"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [((0, 0), (0, 90)), ((52.37, 4.90), (40.71, -74.01)), ((52.37, 4.90), (50.11, 8.68)), ((1, 1), (1, 1))],
)
def test_distances_are_those_on_the_ellipsoid(
    rules: ModuleType, one: tuple[float, float], other: tuple[float, float]
) -> None:
    places = [dict(zip(("latitude", "longitude"), place, strict=True)) for place in (one, other)]
    exact_m = Geodesic.WGS84.Inverse(*one, *other)["s12"]
    assert rules.distance_km(*places) == pytest.approx(exact_m / 1000, abs=0.1)


@pytest.mark.parametrize("wrong", ["near", "elsewhere", "unreachable"])
def test_site_stops_before_any_change(tmp_path: Path, inventory: Inventory, wrong: str) -> None:
    for hosts in inventory.values():
        for values in hosts.values():
            # Nothing listens at this port (tcpmux) of loopback.
            values |= {"ansible_host": "127.0.0.1", "ansible_port": 1}
    if wrong == "near":
        _too_near(inventory["mpic_egresses"])
    if wrong == "elsewhere":
        _elsewhere(inventory["mpic_egresses"])
    file = _written(inventory, tmp_path / "hosts.yml")
    done = ansible(tmp_path, "ansible-playbook", "playbooks/site.yml", "-i", str(file))
    assert done.returncode != 0
    rule = {
        "near": "364 km from nyc",
        "elsewhere": "longitude -87.63 lies in US (United States of America)",
        "unreachable": "ams: does not answer ssh at 127.0.0.1",
    }[wrong]
    assert rule in done.stdout + done.stderr
    assert "changed=1" not in done.stdout
    assert "Harden every node" not in done.stdout


_RENDER = """
- hosts: mpic_egresses:mpic_appliances
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.template:
        src: "{{ roles }}/{{ role }}/templates/{{ role }}.toml.j2"
        dest: "{{ target }}/{{ inventory_hostname }}.toml"
  vars:
    role: "{{ 'egress' if inventory_hostname in groups['mpic_egresses'] else 'appliance' }}"
"""


def _with_defaults(inventory: Inventory) -> Inventory:
    """Each host with all of its role's variables: what a role has for all is weaker than what the inventory says."""

    def variables(role: str, kind: str) -> Inventory:
        file = ANSIBLE / "roles" / role / kind / "main.yml"
        found: Inventory = yaml.safe_load(file.read_text()) if file.exists() else {}
        return found

    return {
        group: {name: variables(role, "defaults") | values | variables(role, "vars") for name, values in hosts.items()}
        for group, hosts in inventory.items()
        for role in ["egress" if group == "mpic_egresses" else "appliance"]
    }


def test_what_the_roles_write_is_what_the_programs_read(tmp_path: Path, inventory: Inventory) -> None:
    for code, hosts in inventory["mpic_egresses"].items():
        hosts["egress_public_key"] = KeyPair.make().public
        key = keygen(tmp_path / f"{code}.key")
        hosts["egress_echo_server"] = {"address": hosts["egress_addresses"][0], "port": 51821, "public_key": key}
    inventory["mpic_egresses"]["jnb"] |= {"egress_echo": False, "egress_echo_server": {}}
    for hosts in inventory["mpic_appliances"].values():
        place = _FRANKFURT | {"country_override": 'no need, "quoted"'}
        hosts["appliance_place_anchors"] = [_ANCHOR | {"port": 51000, "place": place}]
        hosts["appliance_place"] = hosts["appliance_place"] | {"country_override": "no need here"}
        hosts["appliance_rov"] = {"policy": "record", "schedule": False}
        hosts["appliance_vrp_url"] = "https://validator.ca.example/vrps.json"
        hosts["appliance_feed_ca"] = "files/validator.pem"
        hosts["appliance_anchors"] = ["https://a.example/", "http://b.example/"]
        hosts["appliance_anchor_ca"] = "files/anchors.pem"
        hosts["appliance_brought"] = {"results": [{"item": "files/validator.pem", "checksum": "c0ffee"}]}
        hosts["appliance_public_keys"] = [
            {"code": code, "slot": "first", "public_key": KeyPair.make().public} for code in inventory["mpic_egresses"]
        ]
        # Half way through a rotation of its key.
        hosts["appliance_public_keys"].append({"code": "ams", "slot": "second", "public_key": KeyPair.make().public})
    (tmp_path / "render.yml").write_text(_RENDER)
    file = _written(_with_defaults(inventory), tmp_path / "hosts.yml")
    variables = {"target": str(tmp_path), "roles": str(ANSIBLE / "roles"), "ansible_python_interpreter": PYTHON}
    argv = ["ansible-playbook", str(tmp_path / "render.yml"), "-i", str(file), "-e", json.dumps(variables)]
    done = ansible(tmp_path, *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n# validator.pem: c0ffee\n" in (tmp_path / "appliance-1.toml").read_text()
    settings = load(tmp_path / "appliance-1.toml")
    assert shortfalls(fleet_from(settings), DAY_OF_LAST_ROW) == []
    assert [anchor.ca_file for anchor in settings.anchors] == [Path("/etc/mpic/anchors.pem"), None]
    (anchor,) = settings.place_anchors
    assert anchor.place.country_override == 'no need, "quoted"'
    assert settings.primary.place.country_override == "no need here"
    assert (anchor.name, anchor.port, anchor.place.longitude) == ("fra", 51000, 8.68)
    assert (settings.rov.policy, settings.rov.schedule, settings.rov.beacons_file) == ("record", False, None)
    assert settings.rov.vrp_file == Path("/var/lib/mpic-feed/vrps.json")
    assert settings.rov.feed.vrp_url == "https://validator.ca.example/vrps.json"
    assert (settings.rov.feed.beacons_url, settings.rov.feed.ca_file) == (None, Path("/etc/mpic/validator.pem"))
    for perspective in settings.perspectives:
        node = EgressConfig.model_validate(tomllib.loads((tmp_path / f"{perspective.code}.toml").read_text()))
        assert node.interfaces[0].addresses == perspective.wireguard.peer_addresses
        told = inventory["mpic_egresses"][perspective.code]["egress_echo_server"]
        assert (node.echo is None) == (perspective.echo is None) == (perspective.code == "jnb")
        if node.echo is not None and perspective.echo is not None:
            assert (perspective.echo.address, perspective.echo.port) == (ip_address(told["address"]), node.echo.port)
            assert perspective.echo.public_key == told["public_key"]
        own = (perspective.wireguard.addresses, perspective.wireguard.second_addresses)
        keys = inventory["mpic_appliances"]["appliance-1"]["appliance_public_keys"]
        wanted = [
            (key["public_key"], tuple(address.ip for address in own[key["slot"] == "second"]))
            for key in keys
            if key["code"] == perspective.code
        ]
        assert [(peer.public_key, peer.addresses) for peer in node.interfaces[0].peers] == wanted
    again = ansible(tmp_path, *argv)
    assert "changed=1" not in again.stdout


# The role's own comparison, between a write that can be broken off and a restart that stands for the handlers'.
_BROKEN_OFF = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        dest: "{{ appliance_configuration }}"
        content: "{{ written }}"
      notify: Restart the appliance
    - ansible.builtin.fail:
      when: broken_off | bool
    - ansible.builtin.include_tasks: "{{ roles }}/appliance/tasks/compare.yml"
  handlers:
    - name: Restart the appliance
      ansible.builtin.shell: sha256sum {{ appliance_configuration }} >{{ running }}
"""
_MPICCTL = """#!/bin/sh
[ "$*" = "status --json" ] && [ -s {running} ] || exit 2
read -r hash _ <{running}
echo "{{\\"configuration_sha256\\": \\"$hash\\"}}"
exit 1
"""


def test_what_was_broken_off_is_restarted_by_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(_BROKEN_OFF)
    running, command = tmp_path / "running", tmp_path / "bin" / "mpicctl"
    command.parent.mkdir()
    command.write_text(_MPICCTL.format(running=running))
    command.chmod(0o755)

    def play(written: str, *options: str, broken_off: bool = False) -> int:
        """How much is changed; what is broken off counts as well."""
        variables = {
            "appliance_configuration": str(tmp_path / "appliance.toml"),
            "running": str(running),
            "roles": str(ANSIBLE / "roles"),
            "written": written,
            "broken_off": broken_off,
            "ansible_python_interpreter": PYTHON,
        }
        argv = [
            "ansible-playbook",
            str(tmp_path / "play.yml"),
            "-i",
            "localhost,",
            "-e",
            json.dumps(variables),
            *options,
        ]
        done = ansible(tmp_path, *argv, first_in_path=command.parent)
        assert (done.returncode != 0) == broken_off, done.stdout + done.stderr
        found = re.search(r"changed=([0-9]+)", done.stdout)
        assert found is not None, done.stdout + done.stderr
        return int(found[1])

    def runs(written: str) -> bool:
        return running.read_text().split()[0] == hashlib.sha256(written.encode()).hexdigest()

    running.write_text("0" * 64 + "  -")
    content = "changed = 1"
    play(content, broken_off=True)
    assert play(content, "--check") > 0
    assert not runs(content)
    assert play(content) > 0
    assert runs(content)
    assert play(content) == play(content, "--check") == 0


def test_the_coordinator_is_restarted_last_for_what_it_runs_with_stands_for_all() -> None:
    handlers = yaml.safe_load((ANSIBLE / "roles/appliance/handlers/main.yml").read_text())
    restarted = [handler["ansible.builtin.systemd_service"].get("name") for handler in handlers]
    assert all(handler["listen"] == "Restart the appliance" for handler in handlers)
    assert restarted[0] is None, "systemd reads the units that are made from the configuration first"
    assert restarted.index("mpicd.service") == len(restarted) - 1
    for role in ("appliance", "egress"):
        tasks = yaml.safe_load((ANSIBLE / "roles" / role / "tasks/main.yml").read_text())
        order = [task.get("ansible.builtin.include_tasks", task.get("ansible.builtin.meta")) for task in tasks]
        assert order.index("compare.yml") == order.index("flush_handlers") - 1


@pytest.mark.parametrize("name", _PLAYBOOKS)
def test_ansible_takes_the_playbook(tmp_path: Path, name: str) -> None:
    done = ansible(tmp_path, "ansible-playbook", "--syntax-check", f"playbooks/{name}.yml", "-e", "code=ams")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ansible_lint_finds_nothing_at_production_profile(tmp_path: Path) -> None:
    done = ansible(tmp_path, "ansible-lint", "--offline", "--nocolor")
    assert done.returncode == 0, done.stdout + done.stderr
