"""What the tunnel daemon publishes of each perspective's tunnel."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Backend(StrEnum):
    """What speaks WireGuard for an interface."""

    KERNEL = "kernel"
    WIREGUARD_GO = "wireguard-go"
    NONE = "none"


class TunnelState(StrEnum):
    """`UP`: usable. `DEGRADED`: usable, but its handshake is older than it should be. `DOWN`: no check can leave by it."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class TunnelStatus(msgspec.Struct, frozen=True):
    """One tunnel, or the primary's namespace (`backend` NONE, no handshake). Times are UNIX seconds; 0 = never.

    `netns_inode` is that of the namespace file, 0 where there is none: a worker in another namespace must not answer.
    """

    code: str
    netns: str
    netns_inode: int
    interface: str
    backend: Backend
    state: TunnelState
    reason: str
    endpoint: str | None
    latest_handshake_s: int
    received_bytes: int
    sent_bytes: int


class TunnelReport(msgspec.Struct, frozen=True):
    """The whole published state: `<runtime_directory>/tunnels.json`, replaced atomically, world-readable."""

    updated_s: int
    tunnels: tuple[TunnelStatus, ...]
