"""What a method makes of what it saw."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec

from appliance.errors import ApplianceError
from appliance.model.observation import CheckError

MAX_SEEN: Final = 64
MAX_SEEN_CHARS: Final = 512
_SHOWN: Final = tuple("\\\\" if b == 0x5C else (chr(b) if 0x20 <= b <= 0x7E else f"\\{b:03d}") for b in range(256))


class Mismatched(ApplianceError):
    """The target was seen, and shows something else than what is asked for; the check ends there."""

    def __init__(self, code: str, message: str, step: str) -> None:
        super().__init__(message)
        self.error = CheckError(code, message, step)


class Found(msgspec.Struct, frozen=True):
    """A method's result. `error` says what a mismatch was; what could not be seen is a `StepFailed`, not a `Found`."""

    matched: bool
    error: CheckError | None = None


def shown(value: bytes) -> str:
    """Bytes from the Internet as text: printable ASCII, the rest as `\\DDD`, clipped to 512 characters."""
    if value.isascii() and (text := value[:MAX_SEEN_CHARS].decode("ascii")).isprintable() and "\\" not in text:
        return text if len(value) <= MAX_SEEN_CHARS else text[: MAX_SEEN_CHARS - 1] + "…"
    text = "".join([_SHOWN[b] for b in value[:MAX_SEEN_CHARS]])
    return text if len(text) <= MAX_SEEN_CHARS else text[: MAX_SEEN_CHARS - 1] + "…"


def shown_all(values: Iterable[bytes], telling: bytes | None = None, part: bytes = b"") -> list[str]:
    """The first 64 of them, shown. `telling`, the one that made the match, is the first of them where it would be cut off
    else, and is shown around its `part` that did: nobody else's records are to take its place in the evidence."""
    first = list(islice(values, MAX_SEEN))
    texts = [shown(value) for value in first]
    if telling is not None and (telling not in first or len(telling) > MAX_SEEN_CHARS):
        begin = max(0, telling.find(part) + len(part) - MAX_SEEN_CHARS // 2) if part else 0
        before = "…" if begin else ""
        texts = [before + shown(telling[begin:]), *texts][:MAX_SEEN]
    return texts


def compare(matched: bool, step: str, expected_what: str) -> Found:
    """A match, or a mismatch that says what was not found."""
    return Found(True) if matched else Found(False, CheckError("mismatch", f"{expected_what} was not found", step))
