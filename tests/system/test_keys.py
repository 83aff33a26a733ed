"""Keys and preshared keys change over in the tunnel daemon: by what the backend holds and what is on the wire."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from appliance.ipc.framing import HEADER_BYTES, encode
from appliance.model.keys import KeyAnswer, KeyRequest, KeyState, Step
from tests.system.small_config import PORTS, Files, netns
from tests.system.small_fixtures import egress, files, net
from tests.system.small_net import EGRESS, EGRESS4, EGRESS6, HOST, TARGET4, TARGET6, SmallNet, ask, inside, program, run
from tests.system.test_tunnels import config

pytestmark = pytest.mark.system
__all__ = ["config", "egress", "files", "net"]

CODE = "fra"  # the last interface of the egress node's file


def send(net: SmallNet, frame: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(net.directory / "run" / "tunneld.sock"))
        connection.sendall(frame)
        answer = b""
        while part := connection.recv(4096):
            answer += part
        return answer


def take(net: SmallNet, step: Step) -> KeyAnswer:
    return msgspec.json.decode(send(net, encode(KeyRequest(step, CODE)))[HEADER_BYTES:], type=KeyAnswer)


def taken(net: SmallNet, step: Step) -> KeyState:
    answer = take(net, step)
    assert answer.state is not None, answer.error
    return answer.state


def let_in(files: Files, state: KeyState, preshared: str) -> None:
    peer = f"""
[[interfaces.peers]]
name = "second"
public_key = "{state.public_key}"
preshared_key_file = "{preshared}"
addresses = {list(state.addresses)}
"""
    path = files.egress(last_peer=peer)
    inside(EGRESS, program("mpic-egress"), "apply", "--config", str(path))


def works() -> bool:
    return (ask(netns(CODE), "tcp", TARGET4), ask(netns(CODE), "udp", TARGET6)) == (EGRESS4, EGRESS6)


def shown(what: str) -> str:
    return inside(HOST, "wg", "show", netns(CODE), what).stdout.strip()


def test_a_key_and_its_preshared_key_change_over_and_stay(net: SmallNet, config: Path, files: Files) -> None:
    prepared = taken(net, "prepare")
    assert prepared.preshared_key_file is not None
    assert not prepared.active
    for file in (files.directory / f"{CODE}.key.second", Path(prepared.preshared_key_file)):
        assert file.stat().st_mode & 0o777 == 0o600
    let_in(files, prepared, prepared.preshared_key_file)
    assert taken(net, "activate").active
    assert works()
    assert shown("public-key") == prepared.public_key
    assert shown("preshared-keys").split()[1] == Path(prepared.preshared_key_file).read_text().strip()
    assert shown("listen-port") == str(PORTS[CODE])
    inner = inside(netns(CODE), "ip", "-br", "addr", "show", "dev", netns(CODE)).stdout.split()[2:]
    assert [address.partition("/")[0] for address in inner] == list(prepared.addresses)
    taken(net, "retire")
    assert not (files.directory / f"{CODE}.key").exists()
    net.stop()
    net.start(config)
    net.wait_up(CODE)
    assert works()
    assert shown("public-key") == prepared.public_key


def test_a_preshared_key_that_differs_is_not_changed_to(net: SmallNet, config: Path, files: Files) -> None:
    before = shown("public-key")
    prepared = taken(net, "prepare")
    let_in(files, prepared, str(files.directory / "psk"))
    refused = take(net, "activate")
    assert refused.state is None
    assert "did not answer" in refused.error
    net.wait_up(CODE)
    assert shown("public-key") == before
    assert works()


def test_what_is_no_request_is_not_acted_upon(net: SmallNet, config: Path, files: Files) -> None:
    for frame in (
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x05nojso",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        encode(KeyRequest("prepare", "nowhere")),
        b'\x00\x00\x00\x37{"step": "prepare", "perspective": "fra", "path": "/etc"}',
    ):
        answer = send(net, frame)
        assert answer == b"" or msgspec.json.decode(answer[HEADER_BYTES:], type=KeyAnswer).state is None
    assert not (files.directory / f"{CODE}.key.second").exists()
    as_user = ["setpriv", "--reuid", "47102", "--regid", "47102", "--clear-groups"]
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    path = str(net.directory / "run" / "tunneld.sock")
    net.directory.chmod(0o755)
    stranger = run(*as_user, "/usr/bin/python3", "-c", connect, path, check=False)
    assert "PermissionError" in stranger.stderr
    assert taken(net, "prepare").public_key, "the positive control"
