"""WireGuard interfaces: of the kernel, else of wireguard-go."""

from __future__ import annotations

import base64
import os
import signal
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from egress.config import InterfaceConfig
from egress.errors import CommandFailed, NameTaken
from egress.system import ip_json, run

_SOCKETS = Path("/var/run/wireguard")
_PROGRAM = "wireguard-go"


@dataclass(frozen=True, slots=True)
class PeerState:
    """A peer as `wg show … dump` has it. `preshared_key` is kept for comparison, never shown."""

    public_key: str
    preshared_key: str
    endpoint: str | None
    allowed_ips: frozenset[str]
    latest_handshake_s: int
    received_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """An interface as `wg show … dump` has it."""

    private_key: str
    listen_port: int
    peers: tuple[PeerState, ...]


def backend_of(name: str) -> str | None:
    """`kernel` or `wireguard-go`; None where there is no such interface."""
    links = ip_json("-d", "link", "show", "dev", name)
    if not links:
        return None
    return "kernel" if links[0].get("linkinfo", {}).get("info_kind") == "wireguard" else _PROGRAM


def create(name: str) -> None:
    """Makes the interface. Raises `NameTaken`, `CommandFailed`."""
    pid = _backend_pid(name)
    if pid is not None:
        raise NameTaken(f"process {pid} already answers for an interface {name}, which is not in this namespace")
    try:
        run("ip", "link", "add", name, "type", "wireguard")
    except CommandFailed as failed:
        if "Unknown device type" not in str(failed) and "not supported" not in str(failed):
            raise
        only = "-all,+net_admin"
        run("setsid", "setpriv", "--no-new-privs", "--inh-caps", "-all", "--bounding-set", only, _PROGRAM, name)


def remove(name: str) -> None:
    """Removes the interface, and with it its backend; none there is fine."""
    backend = backend_of(name)
    if backend is None:
        return
    pid = _backend_pid(name) if backend == _PROGRAM else None
    run("ip", "link", "del", name)
    if pid is not None and Path(f"/proc/{pid}/comm").exists():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def state(name: str) -> InterfaceState:
    """What the interface is set to. Raises `CommandFailed`."""
    return parse_dump(run("wg", "show", name, "dump"))


def parse_dump(text: str) -> InterfaceState:
    """Reads `wg show INTERFACE dump` (wg(8))."""
    first, *rest = text.splitlines()
    private_key, _, port, _ = first.split("\t")
    peers = []
    for line in rest:
        public, preshared, endpoint, allowed, handshake, received, sent, _ = line.split("\t")
        peers.append(
            PeerState(
                public_key=public,
                preshared_key="" if preshared == "(none)" else preshared,
                endpoint=None if endpoint == "(none)" else endpoint,
                allowed_ips=frozenset(part for part in allowed.split(",") if part != "(none)"),
                latest_handshake_s=int(handshake),
                received_bytes=int(received),
                sent_bytes=int(sent),
            )
        )
    return InterfaceState(private_key, int(port), tuple(peers))


def wanted(config: InterfaceConfig) -> InterfaceState:
    """What the interface should be set to, without what changes by itself. Reads the key files."""
    peers = tuple(
        PeerState(
            public_key=peer.public_key,
            preshared_key="" if peer.preshared_key_file is None else _key(peer.preshared_key_file),
            endpoint=None,
            allowed_ips=frozenset(str(ip_network(address)) for address in peer.addresses),
            latest_handshake_s=0,
            received_bytes=0,
            sent_bytes=0,
        )
        for peer in config.peers
    )
    return InterfaceState(_clamped(_key(config.private_key_file)), config.listen_port, peers)


def same(one: InterfaceState, other: InterfaceState) -> bool:
    """Whether keys, port, peers and their addresses are the same."""

    def still(interface: InterfaceState) -> object:
        peers = {(peer.public_key, peer.preshared_key, peer.allowed_ips) for peer in interface.peers}
        return interface.private_key, interface.listen_port, peers

    return still(one) == still(other)


def synchronise(name: str, wanted_state: InterfaceState) -> None:
    """Makes it so without disturbing sessions that are right. The port is always given: else a random one is taken."""
    lines = ["[Interface]", f"PrivateKey = {wanted_state.private_key}", f"ListenPort = {wanted_state.listen_port}"]
    for peer in wanted_state.peers:
        lines += ["[Peer]", f"PublicKey = {peer.public_key}", f"AllowedIPs = {', '.join(sorted(peer.allowed_ips))}"]
        lines += [f"PresharedKey = {peer.preshared_key}"] if peer.preshared_key else []
    run("wg", "syncconf", name, "/dev/stdin", stdin="".join(f"{line}\n" for line in lines))


def _key(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _clamped(private_key: str) -> str:
    # As every backend shows it: RFC 7748 section 5.
    scalar = bytearray(base64.b64decode(private_key))
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    return base64.b64encode(scalar).decode()


def _backend_pid(name: str) -> int | None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(_SOCKETS / f"{name}.sock"))
        except OSError:
            return None
        pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid
