"""The egress node's package on a real systemd: set up at boot, kept so by the timer, cleared when it is purged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, topology
from tests.lab.appliance_files import KeyPair, toml
from tests.lab.wait import wait_until
from tests.packaging.container import Container

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
NODE = topology.EGRESSES[0]
_UNIT = "mpic-egress.service"
# Instead of every minute, so that nobody waits for it.
_OFTEN = b"[Timer]\nOnActiveSec=\nOnActiveSec=1s\nAccuracySec=1s\n"


@pytest.fixture(scope="module")
def node(debs: dict[str, Path]) -> Iterator[Container]:
    with Lab(), Container("mpic-egress", NODE.namespace) as container:
        container.write("/root/package.deb", debs["mpic-egress"].read_bytes())
        container.run("dpkg", "--install", "/root/package.deb")
        container.write("/etc/mpic/keys/egress.key", f"{KeyPair.make().private}\n".encode(), 0o600)
        document = {
            "uplink": {"interface": "uplink0", "egress_addresses": list(NODE.address)},
            "interfaces": [
                {
                    "name": "wg-mpic",
                    "listen_port": NODE.endpoint_port,
                    "private_key_file": "/etc/mpic/keys/egress.key",
                    "addresses": ["10.77.0.1"],
                    "peers": [
                        {"name": "appliance", "public_key": KeyPair.make().public, "addresses": ["10.77.0.2"]},
                    ],
                }
            ],
        }
        container.write("/etc/mpic/egress.toml", toml(document).encode())
        yield container


def test_started_it_is_as_configured(node: Container) -> None:
    node.run("systemctl", "start", _UNIT, "mpic-egress.timer")
    assert node.run("mpic-egress", "check").strip() == "all as configured"
    assert node.state() == "running", node.failures()
    node.run("nft", "list", "table", "inet", "mpic_egress")


def test_a_second_start_changes_nothing(node: Container) -> None:
    backend = node.run("pidof", "wireguard-go")
    node.run("systemctl", "start", _UNIT)
    assert node.run("pidof", "wireguard-go") == backend
    journal = node.run("journalctl", "--no-pager", "--output=cat", f"--unit={_UNIT}")
    assert "nothing to change" in journal


def test_the_timer_repairs_what_is_lost(node: Container) -> None:
    node.write("/etc/systemd/system/mpic-egress.timer.d/often.conf", _OFTEN)
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "restart", "mpic-egress.timer")
    node.run("nft", "delete", "table", "inet", "mpic_egress")
    wait_until(lambda: node.call("mpic-egress", "check").returncode == 0, 60, "the timer applies again", 1.0)


def test_purged_it_leaves_nothing(node: Container) -> None:
    node.run("dpkg", "--purge", "mpic-egress")
    assert node.call("nft", "list", "table", "inet", "mpic_egress").returncode != 0
    assert node.call("ip", "link", "show", "wg-mpic").returncode != 0
    assert node.call("test", "-e", "/etc/mpic/keys").returncode == 1
    assert node.state() == "running", node.failures()
