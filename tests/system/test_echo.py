"""Servers that answer by UDP never answer each other: one forged datagram is two packets, and then there is silence."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from appliance.net.echo import NONCE_BYTES, nonce_of, request_datagram
from tests.system.small_fixtures import net
from tests.system.small_net import EGRESS, EGRESS4, HOST, HOST4, WAN, SmallNet, inside, program, wait_for

pytestmark = pytest.mark.system
__all__ = ["net"]

_SERVERS = {HOST: HOST4, EGRESS: EGRESS4}
_ENDPOINT = Path(__file__).parents[2] / "ansible/playbooks/files/endpoint.py"
_ASK = """\
import socket, sys
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(1)
asker.connect((sys.argv[1], int(sys.argv[2])))
try:
    asker.send(bytes.fromhex(sys.argv[3]))
    print(asker.recv(2000).hex())
except OSError:
    pass
"""
# A whole IPv4 packet, whose source is what it says: the kernel fills in length and checksum.
_FORGE = """\
import socket, struct, sys
source, target, port, payload = sys.argv[1], sys.argv[2], int(sys.argv[3]), bytes.fromhex(sys.argv[4])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
udp = struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload
ends = socket.inet_aton(source) + socket.inet_aton(target)
raw.sendto(struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, 17, 0) + ends + udp, (target, 0))
"""


def python(script: str, *arguments: str) -> str:
    """What a script in the router between the two says."""
    return inside(WAN, sys.executable, "-I", "-S", "-c", script, *arguments).stdout.strip()


def answered(address: str, port: int) -> bool:
    """Whether the server answers the router, with the same nonce and as many octets."""
    nonce = os.urandom(NONCE_BYTES)
    request = request_datagram(nonce)
    reply = bytes.fromhex(python(_ASK, address, str(port), request.hex()))
    return nonce_of(reply) == nonce and len(reply) == len(request) and reply != request


@contextmanager
def mpic_echo(net: SmallNet, namespace: str, port: int) -> Iterator[None]:
    key = net.directory / f"{namespace}-{port}.key"
    command = [program("mpic-echo"), "keygen", "--key-file", str(key)]
    inside(namespace, *command)
    command = [program("mpic-echo"), "serve", "--address", _SERVERS[namespace], "--port", str(port)]
    net.background(["nsenter", f"--net=/run/netns/{namespace}", *command, "--key-file", str(key)])
    yield


@contextmanager
def endpoint(net: SmallNet, namespace: str, port: int) -> Iterator[None]:
    script = [sys.executable, "-I", "-S", str(_ENDPOINT), "listen", str(net.directory / "nothing"), str(port)]
    pid = int(inside(namespace, *script).stdout)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


PAIRS = ((mpic_echo, mpic_echo, 51821), (endpoint, endpoint, 51822), (mpic_echo, endpoint, 51823))


def test_one_forged_datagram_sets_nobody_answering_for_ever(net: SmallNet) -> None:
    for on_host, on_egress, port in PAIRS:
        with ExitStack() as stack:
            stack.enter_context(on_host(net, HOST, port))
            stack.enter_context(on_egress(net, EGRESS, port))
            for address in _SERVERS.values():
                wait_for(lambda address=address, port=port: answered(address, port))  # type: ignore[misc]
            capture = net.capture(WAN, "e0")
            python(_FORGE, HOST4, EGRESS4, str(port), request_datagram(os.urandom(NONCE_BYTES)).hex())
            # Each server takes one datagram after the other: it has dealt with the last of them when this is answered.
            for _ in range(3):
                assert answered(EGRESS4, port)
                assert answered(HOST4, port)
            capture.end()
        between = capture.lines(f"udp port {port} and host {HOST4} and host {EGRESS4}")
        assert len(between) == 2, (on_host.__name__, on_egress.__name__, len(between))


def test_what_the_playbook_ships_understands_itself_and_mpic_echo(net: SmallNet) -> None:
    """Asked from the host: a listener, an mpic-echo, and a port where nobody answers."""
    with endpoint(net, EGRESS, 51820), mpic_echo(net, EGRESS, 51821):
        wait_for(lambda: answered(EGRESS4, 51821))
        asked = [("a", "51820", "new"), ("b", "51820", "echo"), ("c", "51821", "echo"), ("d", "51829", "new")]
        words = [word for code, port, how in asked for word in (code, EGRESS4, port, how)]
        said = inside(HOST, sys.executable, "-I", "-S", str(_ENDPOINT), "ask", *words).stdout.splitlines()
    assert [line.partition(":")[0] for line in said] == ["d"]
