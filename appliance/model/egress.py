"""What an egress node says of itself: for people to read. No decision is made with it, since the node could say anything."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Line = Annotated[str, msgspec.Meta(max_length=200)]
_Word = Annotated[str, msgspec.Meta(max_length=64)]
_Lines = Annotated[tuple[_Line, ...], msgspec.Meta(max_length=20)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class EgressTunnel(msgspec.Struct, frozen=True):
    """The far end of this appliance's tunnel. `latest_handshake_s`: UNIX seconds, 0 = never."""

    interface: _Word
    backend: _Word | None
    latest_handshake_s: _Count = 0
    received_bytes: _Count = 0
    sent_bytes: _Count = 0


class EgressStatus(msgspec.Struct, frozen=True):
    """As `mpic-egress status --write` made it at `written_s` (UNIX seconds of the node's clock).

    `problems`: what is not as the node's file says. `warnings`: what needs a look. None: the node could not find out.
    """

    version: _Word
    kernel: _Word
    written_s: _Count
    problems: _Lines
    warnings: _Lines
    tunnel: EgressTunnel
    clock_synchronised: bool | None = None
    security_updates: _Count | None = None
    reboot_required: bool | None = None
    conntrack_permille: _Count | None = None
