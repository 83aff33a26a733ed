"""Whether UDP gets from an appliance to an egress node: to its endpoint, before WireGuard is set up there, and to its mpic-echo.

listen FILE PORT ...: answers for a minute at most, and prints the pid of what answers; where FILE is, the node is set up, its
firewall closed and its ports taken: only prints `set-up`.
ask CODE HOST PORT HOW ...: prints a line for each that nothing comes back from. HOW is `set-up` for an endpoint that is asked by
ping, `echo` for an mpic-echo or what answers in its stead, anything else for an endpoint.
Needs nothing but Python's own library.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

ANSWERING_S = 60.0
ASKING_S = 3.0
EVERY_S = 0.5
# A request of mpic-echo: its first words and a nonce, which the answer repeats, and room for a signature. Whatever is asked here
# has this form. An answer fills the room, with a signature or without, so that no answer is ever taken for a request.
ECHO_WORDS = b"mpicech1"
REPEATED = 40
ECHO_ROOM = bytes(64)
NOT_SIGNED = b"\xff" * len(ECHO_ROOM)


def listen(ports: list[int]) -> str:
    """Starts what answers. Raises `OSError`."""
    listeners = [_listener(port) for port in ports]
    pid = os.fork()
    if pid:
        return str(pid)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    deadline = time.monotonic() + ANSWERING_S
    while (left := deadline - time.monotonic()) > 0:
        for listener in select.select(listeners, [], [], left)[0]:
            with contextlib.suppress(OSError):
                datagram, sender = listener.recvfrom(256)
                reply = answer(datagram)
                if reply is not None:
                    listener.sendto(reply, sender)
    os._exit(0)


def answer(datagram: bytes) -> bytes | None:
    """The answer, as long as the request; None for anything that is not a request, such as an answer."""
    is_request = len(datagram) == REPEATED + len(ECHO_ROOM) and datagram.startswith(ECHO_WORDS)
    return datagram[:REPEATED] + NOT_SIGNED if is_request and datagram.endswith(ECHO_ROOM) else None


def _listener(port: int) -> socket.socket:
    family, anywhere = (socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "")
    listener = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    _bind(listener, (anywhere, port))
    listener.setblocking(False)
    return listener


def _bind(listener: socket.socket, address: tuple[str, int]) -> None:
    """Waits for what answers since an earlier run, which was broken off. Raises `OSError`."""
    deadline = time.monotonic() + ANSWERING_S
    while True:
        try:
            return listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
        time.sleep(EVERY_S)


def answers(host: str, port: int) -> bool:
    """Whether what is sent there comes back, all but the signature."""
    deadline = time.monotonic() + ASKING_S
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError:
        return False
    token = ECHO_WORDS + secrets.token_bytes(REPEATED - len(ECHO_WORDS)) + ECHO_ROOM
    with socket.socket(family, kind) as asking:
        asking.settimeout(EVERY_S)
        while time.monotonic() < deadline:
            try:
                asking.sendto(token, address)
                if asking.recv(256)[:REPEATED] == token[:REPEATED]:
                    return True
            except OSError:
                time.sleep(EVERY_S / 10)
    return False


def pings(host: str) -> bool:
    """Whether the host answers to ICMP."""
    return subprocess.run(["ping", "-q", "-c3", "-i0.3", "-W2", host], capture_output=True, check=False).returncode == 0


def main() -> None:
    """The command."""
    command, *words = sys.argv[1:]
    if command == "listen":
        print("set-up" if Path(words[0]).exists() else listen([int(port) for port in words[1:]]))
        return
    for code, host, port, how in zip(*[iter(words)] * 4, strict=True):
        if how == "set-up" and not pings(host):
            print(f"{code}: its endpoint {host} does not answer ping from here")
        if how != "set-up" and not answers(host, int(port)):
            what = "mpic-echo at" if how == "echo" else "endpoint"
            print(f"{code}: nothing comes back by UDP from its {what} {host} port {port}")


if __name__ == "__main__":
    main()
