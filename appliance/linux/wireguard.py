"""WireGuard interfaces, of the kernel or of a user-space backend, as wg(8) and its cross-platform protocol show them.

A kernel interface answers in the namespace that holds it, a user-space one on a Unix socket under `SOCKETS`.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from appliance.config.schema import IpNetwork
from appliance.errors import ApplianceError
from appliance.linux import process

SOCKETS = Path("/var/run/wireguard")
_ANSWER_OCTETS = 65536
_ANSWER_S = 1.0
_NO_KEY = base64.b64encode(bytes(32)).decode()


class NoAnswer(ApplianceError):
    """The user-space backend of an interface is not there, or is and does not answer."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer of an interface. Keys in base64; `endpoint` as `address:port`, IPv6 in brackets."""

    public_key: str
    preshared_key: str | None = field(repr=False)
    endpoint: str | None
    allowed_ips: frozenset[IpNetwork]
    persistent_keepalive_s: int
    latest_handshake_s: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Interface:
    """What an interface is set to. `private_key` None: not set yet."""

    private_key: str | None = field(repr=False)
    listen_port: int
    peers: tuple[Peer, ...]


def socket_of(name: str) -> Path:
    """Where the user-space backend of interface `name` answers."""
    return SOCKETS / f"{name}.sock"


async def backend_pid(name: str) -> int | None:
    """The process that answers for interface `name`; None where none does (a stale socket counts as none)."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_unix_connection(str(socket_of(name)))
    except (OSError, TimeoutError):
        return None
    try:
        connection: socket.socket = writer.get_extra_info("socket")
        return process.peer_pid(connection)
    finally:
        writer.close()


async def ask_backend(name: str) -> Interface:
    """The state of user-space interface `name`. Raises `NoAnswer`."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(str(socket_of(name)), limit=_ANSWER_OCTETS)
            try:
                writer.write(b"get=1\n\n")
                answer = await reader.readuntil(b"\n\n")
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError) as error:
        raise NoAnswer(f"the backend of {name} does not answer") from error
    return parse_uapi(answer.decode("ascii", errors="replace"))


async def ask_kernel(name: str, namespace: Path | None) -> Interface:
    """The state of kernel interface `name` in `namespace` (None: the caller's). Raises `CommandFailed`."""
    return parse_dump((await process.run(*_wg_in(namespace), "show", name, "dump")).decode("ascii"))


async def synchronise(name: str, namespace: Path | None, wanted: Interface) -> None:
    """Makes interface `name` be as `wanted`, without disturbing what is so already. `namespace`: None for user space.

    Secrets go by standard input. Raises `CommandFailed`.
    """
    await process.run(*_wg_in(namespace), "syncconf", name, "/dev/stdin", stdin=render(wanted).encode())


async def set_endpoint(name: str, namespace: Path | None, public_key: str, endpoint: str) -> None:
    """Sets the peer's endpoint anew, which also forgets the source address that the tunnel used so far."""
    await process.run(*_wg_in(namespace), "set", name, "peer", public_key, "endpoint", endpoint)


def _wg_in(namespace: Path | None) -> tuple[str, ...]:
    return ("wg",) if namespace is None else ("nsenter", f"--net={namespace}", "wg")


def render(wanted: Interface) -> str:
    """`wanted` as a file for `wg syncconf`. The port is always given: without it the backend takes a random one."""
    return "".join(f"{line}\n" for line in _render_lines(wanted))


def _render_lines(wanted: Interface) -> Iterator[str]:
    yield "[Interface]"
    yield f"PrivateKey = {wanted.private_key}"
    yield f"ListenPort = {wanted.listen_port}"
    for peer in wanted.peers:
        yield "[Peer]"
        yield f"PublicKey = {peer.public_key}"
        if peer.preshared_key is not None:
            yield f"PresharedKey = {peer.preshared_key}"
        yield f"AllowedIPs = {', '.join(sorted(str(network) for network in peer.allowed_ips))}"
        if peer.endpoint is not None:
            yield f"Endpoint = {peer.endpoint}"
        yield f"PersistentKeepalive = {peer.persistent_keepalive_s}"


def parse_dump(text: str) -> Interface:
    """Reads `wg show INTERFACE dump` (wg(8))."""
    first, *rest = text.splitlines()
    private_key, _, listen_port, _ = first.split("\t")
    peers = []
    for line in rest:
        public, preshared, endpoint, allowed, handshake, received, sent, keepalive = line.split("\t")
        peer = Peer(
            public_key=public,
            preshared_key=_unless_none(preshared),
            endpoint=_unless_none(endpoint),
            allowed_ips=_networks(allowed.split(",")),
            persistent_keepalive_s=0 if keepalive == "off" else int(keepalive),
            latest_handshake_s=int(handshake),
            received_bytes=int(received),
            sent_bytes=int(sent),
        )
        peers.append(peer)
    return Interface(_unless_none(private_key), int(listen_port), tuple(peers))


def parse_uapi(text: str) -> Interface:
    """Reads the answer to `get=1` of the cross-platform user-space protocol (www.wireguard.com/xplatform)."""
    sections: list[list[tuple[str, str]]] = [[]]
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "public_key":
            sections.append([])
        sections[-1].append((key, value))
    own = dict(sections[0])
    private_key = _from_hex(own["private_key"]) if "private_key" in own else None
    return Interface(private_key, int(own.get("listen_port", "0")), tuple(_peer_of(rows) for rows in sections[1:]))


def _peer_of(rows: list[tuple[str, str]]) -> Peer:
    values = dict(rows)
    return Peer(
        public_key=_from_hex(values["public_key"]) or "",
        preshared_key=_from_hex(values.get("preshared_key", "")),
        endpoint=values.get("endpoint"),
        allowed_ips=_networks(value for key, value in rows if key == "allowed_ip"),
        persistent_keepalive_s=int(values.get("persistent_keepalive_interval", "0")),
        latest_handshake_s=int(values.get("last_handshake_time_sec", "0")),
        received_bytes=int(values.get("rx_bytes", "0")),
        sent_bytes=int(values.get("tx_bytes", "0")),
    )


def _from_hex(text: str) -> str | None:
    key = base64.b64encode(bytes.fromhex(text)).decode()
    return None if key in {"", _NO_KEY} else key


def _unless_none(text: str) -> str | None:
    return None if text == "(none)" else text


def _networks(texts: Iterable[str]) -> frozenset[IpNetwork]:
    return frozenset(ip_network(text) for text in texts if text not in {"", "(none)"})
