"""The egress node's package on a real systemd: set up at boot, kept so by the timer, cleared when it is purged."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.linux.netns import inside
from appliance.net.echo import NONCE_BYTES, is_signed, nonce_of, public_key, request_datagram
from tests.lab import Lab, topology
from tests.lab.appliance_files import KeyPair, toml
from tests.lab.netns import NETNS_DIR
from tests.lab.wait import wait_until
from tests.packaging.container import Container

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
NODE = topology.EGRESSES[0]
_UNIT = "mpic-egress.service"
_STATUS = "mpic-egress-status.service"
_STATUS_PORT = 51822
_ECHO = "mpic-echo.service"
_ECHO_KEY = "/var/lib/mpic-echo/key"
_ECHO_PORT = 51900
# Instead of every minute, so that nobody waits for it.
_OFTEN = b"[Timer]\nOnActiveSec=\nOnActiveSec=1s\nAccuracySec=1s\n"


@pytest.fixture(scope="module")
def node(debs: dict[str, Path]) -> Iterator[Container]:
    with Lab(), Container("mpic-egress", NODE.namespace) as container:
        container.write("/root/package.deb", debs["mpic-egress"].read_bytes())
        container.run("dpkg", "--install", "/root/package.deb")
        container.write("/etc/mpic/keys/egress.key", f"{KeyPair.make().private}\n".encode(), 0o600)
        document = {
            "echo": {"port": _ECHO_PORT},
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
    assert node.run("mpic-egress", "check").startswith("all as configured\n")
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


def echoed(nonce: bytes) -> bytes:
    """What the node answers, asked from the CA's site over the Internet."""
    with inside(NETNS_DIR / topology.PRIMARY.namespace):
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asker:
        asker.settimeout(1)
        asker.connect((str(NODE.address.v4), _ECHO_PORT))
        asker.send(request_datagram(nonce))
        try:
            return asker.recv(1000)
        except OSError:
            return b""


def test_echo_answers_the_internet_as_a_user_of_its_own(node: Container) -> None:
    assert node.call("systemctl", "is-active", _ECHO).returncode != 0, "nobody said where it listens"
    node.write("/etc/default/mpic-echo", f"MPIC_ECHO_ADDRESS={NODE.address.v4}\nMPIC_ECHO_PORT={_ECHO_PORT}\n".encode())
    node.run("systemctl", "start", _ECHO)
    public = node.run("mpic-echo", "keygen", "--key-file", _ECHO_KEY).strip()
    assert public in node.run("journalctl", "--no-pager", f"--unit={_ECHO}")
    nonce = os.urandom(NONCE_BYTES)
    reply = wait_until(lambda: echoed(nonce), 30, "mpic-echo answers")
    assert nonce_of(reply) == nonce
    assert is_signed(reply, public_key(public))
    status = node.run("cat", f"/proc/{node.main_pid(_ECHO)}/status")
    user = node.run("id", "--user", "mpic-echo").strip()
    assert f"Uid:\t{user}\t{user}\t{user}\t{user}\n" in status
    assert "CapEff:\t0000000000000000\n" in status
    assert node.run("stat", "-c", "%U %a", _ECHO_KEY).split() == ["mpic-echo", "600"]
    before = node.main_pid(_ECHO)
    node.run("systemctl", "kill", "--signal=SIGKILL", _ECHO)
    wait_until(lambda: node.main_pid(_ECHO) not in {0, before}, 30, "it runs again")
    assert wait_until(lambda: echoed(nonce), 30, "it answers again")[40:] == reply[40:], "with the same key"


def told(namespace: str, address: str) -> bytes:
    """What is said to whoever connects from `namespace`; nothing where nobody listens."""
    with inside(NETNS_DIR / namespace):
        asker = socket.socket()
    with asker:
        asker.settimeout(2)
        try:
            asker.connect((address, _STATUS_PORT))
            return asker.recv(65536)
        except OSError:
            return b""


def test_its_status_is_served_without_privileges_at_the_inner_address_alone(node: Container) -> None:
    wait_until(lambda: node.call("systemctl", "is-active", _STATUS).returncode == 0, 60, "the server runs", 0.5)
    listening = wait_until(
        lambda: node.run("ss", "--no-header", "--listening", "--tcp", "--numeric", f"sport = :{_STATUS_PORT}"),
        30,
        "it listens",
    )
    assert [line.split()[3] for line in listening.splitlines()] == [f"10.77.0.1:{_STATUS_PORT}"]
    status = node.run("cat", f"/proc/{node.main_pid(_STATUS)}/status")
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    assert "0" not in fields["Uid"]
    assert {int(fields[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    written = json.loads(node.run("cat", "/run/mpic-egress/status.json"))
    assert written["problems"] == []
    assert written["interfaces"][0]["backend"] == "wireguard-go"
    assert told(topology.PRIMARY.namespace, str(NODE.address.v4)) == b""
    # The node itself is no appliance's.
    assert told(NODE.namespace, "10.77.0.1") == b""


def test_a_wrong_file_is_told_and_the_tunnel_stays(node: Container) -> None:
    right = node.run("cat", "/etc/mpic/egress.toml")
    node.write("/etc/mpic/egress.toml", right.replace("[uplink]", "[uplonk]").encode())
    assert node.call("systemctl", "start", _UNIT).returncode != 0
    written = json.loads(node.run("cat", "/run/mpic-egress/status.json"))
    assert ["configuration file is wrong" in line for line in written["problems"]] == [True]
    assert written["interfaces"][0]["addresses"] == ["10.77.0.1"]
    node.write("/etc/mpic/egress.toml", right.encode())
    node.run("systemctl", "start", _UNIT)
    assert json.loads(node.run("cat", "/run/mpic-egress/status.json"))["problems"] == []


def test_an_upgrade_and_a_removal_keep_file_and_key(node: Container) -> None:
    kept = node.run("sha256sum", "/etc/mpic/egress.toml", "/etc/mpic/keys/egress.key")
    backend, server = node.run("pidof", "wireguard-go"), node.main_pid(_STATUS)
    node.run("dpkg", "--install", "/root/package.deb", timeout_s=120)
    wait_until(lambda: node.main_pid(_STATUS) not in {0, server}, 60, "the new program serves", 0.5)
    assert node.run("pidof", "wireguard-go") == backend
    assert node.run("mpic-egress", "check").startswith("all as configured\n")
    node.run("dpkg", "--remove", "mpic-egress", timeout_s=120)
    assert node.run("sha256sum", "/etc/mpic/egress.toml", "/etc/mpic/keys/egress.key") == kept
    assert node.call("ip", "link", "show", "wg-mpic").returncode != 0
    assert node.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active,failed", "mpic*") == ""


def test_purged_it_leaves_nothing(node: Container) -> None:
    node.run("dpkg", "--purge", "mpic-egress")
    assert node.call("nft", "list", "table", "inet", "mpic_egress").returncode != 0
    assert node.call("ip", "link", "show", "wg-mpic").returncode != 0
    assert node.call("test", "-e", "/etc/mpic/keys").returncode == 1
    assert node.call("test", "-e", _ECHO_KEY).returncode == 1
    assert node.state() == "running", node.failures()
