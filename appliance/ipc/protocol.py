"""One end of a channel: frames in, messages out, and the credentials of the process at the other end."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Generic, TypeVar, cast

import msgspec

from appliance.errors import UNDECODABLE
from appliance.ipc.framing import BadFrame, FrameBuffer, encode

Incoming = TypeVar("Incoming")

# A peer that leaves this much unread is not working; waiting for it would only hold memory.
_MAX_UNREAD_BYTES = 16 << 20
_UCRED = struct.Struct("iII")


def peer_uid(sock: socket.socket) -> int:
    """The user id of the process that connected, or that listens, at the other end (unix(7), SO_PEERCRED)."""
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)


class FramedProtocol(asyncio.Protocol, Generic[Incoming]):
    """Decodes frames and hands each message to `received`; what is sent in one turn of the loop leaves in one write.

    A subclass defines `admit`, `opened`, `received`, `broke` and `closed`. Nothing is read from a peer that `admit` refuses.
    """

    def __init__(self, decoder: msgspec.json.Decoder[Incoming]) -> None:
        self._decoder = decoder
        self._buffer = FrameBuffer()
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._admitted = False

    @property
    def connected(self) -> bool:
        """Whether a message that is sent now can arrive."""
        return self._transport is not None

    def send(self, message: msgspec.Struct) -> None:
        """Queues one message; without effect once the connection is gone. Raises `BadFrame` where it is too large."""
        if self._transport is None:
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(encode(message))

    def close(self) -> None:
        """Closes after what was sent has left."""
        if self._transport is not None:
            self._flush()
            self._transport.close()
            self._transport = None

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def admit(self, uid: int) -> str | None:
        """Why the peer with this user id is refused, or None."""
        raise NotImplementedError

    def opened(self) -> None:
        """The peer was admitted; messages may be sent."""

    def received(self, message: Incoming) -> None:
        """One message of the peer."""
        raise NotImplementedError

    def broke(self, text: str) -> None:
        """The peer broke the rules of the channel; the connection goes away."""

    def closed(self) -> None:
        """The connection of an admitted peer is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        stream = cast("asyncio.Transport", transport)  # uvloop's are none by class
        refusal = self.admit(peer_uid(stream.get_extra_info("socket")))
        if refusal is not None:
            stream.abort()
            self.broke(refusal)
            return
        stream.set_write_buffer_limits(high=_MAX_UNREAD_BYTES)
        self._transport = stream
        self._admitted = True
        self.opened()

    def data_received(self, data: bytes) -> None:  # noqa: D102
        try:
            for payload in self._buffer.feed(data):
                if self._transport is None:
                    return
                self.received(self._decoder.decode(payload))
        except (BadFrame, *UNDECODABLE) as error:
            self.fail(f"malformed frame: {error}")

    def pause_writing(self) -> None:  # noqa: D102
        self.fail(f"the peer leaves more than {_MAX_UNREAD_BYTES} bytes unread")

    def connection_lost(self, _error: Exception | None) -> None:  # noqa: D102
        self._transport = None
        self._outgoing.clear()
        if self._admitted:
            self.closed()

    def fail(self, text: str) -> None:
        """Reports a broken rule and drops the connection."""
        self.broke(text)
        self.abort()

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()
