"""Echo requests (RFC 792, RFC 4443) through unprivileged ICMP sockets (icmp(7)), one socket for each."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time

from appliance.config.schema import IpAddress

_HEADER = struct.Struct("!BBHHH")
_ECHO = {4: (socket.AF_INET, socket.IPPROTO_ICMP, 8, 0), 6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129)}
_IP_HEADER_BYTES = {4: 20, 6: 40}
# linux/in.h, linux/in6.h: never fragment, and do not believe a smaller path MTU that was learnt earlier.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
_SMALL_PAYLOAD_BYTES = 16


def payload_bytes(address: IpAddress, mtu: int | None) -> int:
    """How much payload makes an echo request to `address` as large as `mtu` octets; a small one for None."""
    if mtu is None:
        return _SMALL_PAYLOAD_BYTES
    return mtu - _IP_HEADER_BYTES[address.version] - _HEADER.size


async def echo(address: IpAddress, payload_length: int, timeout_s: float) -> int | None:
    """Microseconds until `address` answered, None where it did not within `timeout_s` or nothing could be sent.

    Raises `PermissionError` where net.ipv4.ping_group_range of the namespace does not admit this process's groups.
    """
    family, protocol, request_type, reply_type = _ECHO[address.version]
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol) as opened:
        level, option = (
            (socket.IPPROTO_IP, _IP_MTU_DISCOVER) if address.version == 4 else (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER)
        )
        opened.setsockopt(level, option, _PMTUDISC_PROBE)
        payload = os.urandom(payload_length)
        began_ns = time.monotonic_ns()
        try:
            opened.connect((str(address), 0))
            opened.send(_HEADER.pack(request_type, 0, 0, 0, 1) + payload)
            async with asyncio.timeout(timeout_s):
                await _reply(opened, reply_type, payload)
        except (OSError, TimeoutError):
            return None
        return (time.monotonic_ns() - began_ns) // 1000


async def _reply(opened: socket.socket, reply_type: int, payload: bytes) -> None:
    """Waits for the answer; the random payload is what tells it from a forged one. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    while True:
        message = await _receive(loop, opened)
        if len(message) >= _HEADER.size and message[0] == reply_type and message[_HEADER.size :] == payload:
            return


async def _receive(loop: asyncio.AbstractEventLoop, opened: socket.socket) -> bytes:
    readable = asyncio.Event()
    loop.add_reader(opened.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(opened.fileno())
    try:
        return opened.recv(1 << 16)
    except BlockingIOError:
        return b""
