"""Frames: a 4-byte big-endian length, then that many bytes of JSON. Pure: bytes in, frames out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from appliance.errors import ApplianceError
from appliance.ipc.messages import MAX_FRAME_BYTES

HEADER_BYTES = 4

_encoder = msgspec.json.Encoder()


class BadFrame(ApplianceError):
    """The bytes on a channel are not frames, or a frame is none of the messages of its direction."""


def encode(message: msgspec.Struct) -> bytes:
    """The frame of `message`. Raises `BadFrame` where it would exceed `MAX_FRAME_BYTES`."""
    payload = _encoder.encode(message)
    if len(payload) > MAX_FRAME_BYTES:
        raise BadFrame(f"a frame of {len(payload)} bytes, more than {MAX_FRAME_BYTES}")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


class FrameBuffer:
    """Cuts a stream into payloads, wherever its segments were split. Holds at most one incomplete frame.

    Copies each byte a few times at most, in however many segments a frame comes: a worker is not trusted with our time.
    """

    __slots__ = ("_pending", "_wanted")

    def __init__(self) -> None:
        self._pending = bytearray()
        # How many pending bytes make the header, or the frame, whole. With fewer there is nothing to look at.
        self._wanted = HEADER_BYTES

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Each payload that `data` completes, valid until the next call. Raises `BadFrame` on an empty or oversized frame."""
        if self._pending:
            self._pending += data
            if len(self._pending) < self._wanted:
                return
            data = bytes(self._pending)
            self._pending.clear()
        view = memoryview(data)
        start = 0
        self._wanted = HEADER_BYTES
        while len(view) - start >= HEADER_BYTES:
            end = start + HEADER_BYTES + _length(view[start : start + HEADER_BYTES])
            if end > len(view):
                self._wanted = end - start
                break
            yield view[start + HEADER_BYTES : end]
            start = end
        self._pending += view[start:]


def _length(header: memoryview) -> int:
    length = int.from_bytes(header, "big")
    if not 0 < length <= MAX_FRAME_BYTES:
        raise BadFrame(f"a frame of {length} bytes, not 1 to {MAX_FRAME_BYTES}")
    return length
