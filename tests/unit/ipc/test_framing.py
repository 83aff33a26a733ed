"""The frame parser: whole payloads out, wherever the stream was cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ipc.framing import HEADER_BYTES, BadFrame, FrameBuffer, encode
from appliance.ipc.messages import MAX_FRAME_BYTES, Cancel


def _framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(0, 2500), max_size=12))
def test_payloads_survive_any_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(_framed(payload) for payload in payloads)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    buffer = FrameBuffer()
    seen = [bytes(payload) for start, end in itertools.pairwise(edges) for payload in buffer.feed(stream[start:end])]
    assert seen == payloads


def test_one_byte_at_a_time() -> None:
    buffer = FrameBuffer()
    stream = _framed(b"ab") + _framed(b"c")
    assert [bytes(p) for byte in stream for p in buffer.feed(bytes([byte]))] == [b"ab", b"c"]


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 0xFFFFFFFF])
def test_empty_and_oversized_frames_are_refused_by_their_header_alone(length: int) -> None:
    with pytest.raises(BadFrame, match=str(length)):
        list(FrameBuffer().feed(length.to_bytes(HEADER_BYTES, "big")))


def test_the_largest_frame_passes_and_one_byte_more_is_not_sent() -> None:
    overhead = len(encode(Cancel(request_id=""))) - HEADER_BYTES
    frame = encode(Cancel(request_id="x" * (MAX_FRAME_BYTES - overhead)))
    assert [len(p) for p in FrameBuffer().feed(frame)] == [MAX_FRAME_BYTES]
    with pytest.raises(BadFrame):
        encode(Cancel(request_id="x" * (MAX_FRAME_BYTES - overhead + 1)))


class _Counting(bytearray):
    """Counts the bytes that are copied out of it."""

    copied = 0

    def __bytes__(self) -> bytes:
        self.copied += len(self)
        return bytes(memoryview(self))


def test_a_frame_in_single_bytes_is_not_copied_for_each_of_them() -> None:
    buffer = FrameBuffer()
    pending = buffer._pending = _Counting()
    payload = bytes(range(1, 251)) * 80
    stream = _framed(payload) * 2
    assert [bytes(frame) for byte in stream for frame in buffer.feed(bytes([byte]))] == [payload, payload]
    assert 0 < pending.copied < 3 * len(stream)
