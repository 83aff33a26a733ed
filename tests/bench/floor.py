"""The floor: the same look-ups and requests by the barest client in the same namespaces.

Run as a program inside a perspective's namespace: `python floor.py PORT SECONDS WINDOW KIND NAME-TEMPLATE FIRST [PATH]`.
It asks the resolver on loopback for the record types of `KIND`, and for `http` then connects to the first IPv6 address,
sends one GET and reads to the end. It prints one JSON object: how many it did, and the CPU milliseconds it took for them.
Only the standard library, no event loop, no checks: nothing that asks over a socket can cost less by much.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import struct
import sys
import time

_TYPES = {"caa": (257,), "dns": (16,), "http": (28, 1)}
_TARGET_PORT = 80
_RESEND_S = 1.0
_MOST_SILENCES = 5


def query(number: int, name: str, rrtype: int) -> bytes:
    """One DNS query with EDNS0 (RFC 1035, RFC 6891)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return (
        struct.pack("!HHHHHH", number & 0xFFFF, 0x0120, 1, 0, 0, 1)
        + labels
        + struct.pack("!BHH", 0, rrtype, 1)
        + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
    )


def fetch(address: bytes, host: str, path: str) -> int:
    """One GET over a fresh IPv6 connection; the length of what came back."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as connection:
        connection.connect((socket.inet_ntop(socket.AF_INET6, address), _TARGET_PORT))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        total = 0
        while got := connection.recv(65536):
            total += len(got)
        return total


def send(resolver: socket.socket, queries: dict[int, bytes]) -> None:
    """Each of them, in a datagram of its own."""
    for asked in queries.values():
        resolver.send(asked)


def run(port: int, seconds: float, window: int, kind: str, template: str, first: int, path: str) -> dict[str, float]:
    """Keeps `window` names in flight for `seconds`."""
    types = _TYPES[kind]
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.connect(("127.0.0.1", port))
    open_answers: dict[int, dict[int, bytes]] = {}
    number, done, failed, silent = first, 0, 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        while len(open_answers) < window:
            key = number & 0x3FFF
            name = template.format(number)
            open_answers[key] = {i: query(key | i << 14, name, rrtype) for i, rrtype in enumerate(types)}
            send(resolver, open_answers[key])
            number += 1
        if not select.select([resolver], [], [], _RESEND_S)[0]:
            # What overran a buffer on the way is asked once more, as any client does.
            silent += 1
            for unanswered in open_answers.values():
                send(resolver, unanswered)
            if silent == _MOST_SILENCES:
                failed = len(open_answers)
                break
            continue
        silent = 0
        answer = resolver.recv(65535)
        key = struct.unpack_from("!H", answer)[0]
        if kind == "http" and not key >> 14:
            fetch(answer[-27:-11], template.format(number), path)  # the last record before OPT is the AAAA
        if (key & 0x3FFF) in open_answers:
            open_answers[key & 0x3FFF].pop(key >> 14, None)
            if not open_answers[key & 0x3FFF]:
                del open_answers[key & 0x3FFF]
                done += 1
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"done": done, "failed": failed, "cpu_ms": used * 1000}


if __name__ == "__main__":
    _, port_, seconds_, window_, kind_, template_, first_, *path_ = sys.argv
    print(
        json.dumps(
            run(int(port_), float(seconds_), int(window_), kind_, template_, int(first_), path_[0] if path_ else "/")
        )
    )
