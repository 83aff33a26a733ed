"""Whether UDP gets from an appliance to the endpoint of an egress node, before WireGuard is set up there.

listen PORT FILE: answers for a minute at most, and prints the pid of what answers; where FILE is, the node is set up, its
firewall closed and its port WireGuard's: only prints `set-up`.
ask CODE HOST PORT HOW ...: prints a line for each endpoint that nothing comes back from; where HOW is `set-up`, by ping.
Needs nothing but Python's own library.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

ANSWERING_S = 60.0
ASKING_S = 3.0
EVERY_S = 0.5


def listen(port: int) -> str:
    """Starts what answers. Raises `OSError`."""
    family, anywhere = (socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "")
    listener = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    _bind(listener, (anywhere, port))
    pid = os.fork()
    if pid:
        return str(pid)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    deadline = time.monotonic() + ANSWERING_S
    while (left := deadline - time.monotonic()) > 0:
        listener.settimeout(left)
        try:
            listener.sendto(*listener.recvfrom(64))
        except OSError:
            continue
    os._exit(0)


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
    """Whether what is sent there comes back."""
    deadline = time.monotonic() + ASKING_S
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError:
        return False
    token = secrets.token_bytes(16)
    with socket.socket(family, kind) as asking:
        asking.settimeout(EVERY_S)
        while time.monotonic() < deadline:
            try:
                asking.sendto(token, address)
                if asking.recv(64) == token:
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
        print("set-up" if Path(words[1]).exists() else listen(int(words[0])))
        return
    for code, host, port, how in zip(*[iter(words)] * 4, strict=True):
        if how == "set-up" and not pings(host):
            print(f"{code}: its endpoint {host} does not answer ping from here")
        if how != "set-up" and not answers(host, int(port)):
            print(f"{code}: nothing comes back by UDP from its endpoint {host} port {port}")


if __name__ == "__main__":
    main()
