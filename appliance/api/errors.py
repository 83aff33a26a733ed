"""The error form of the Open MPIC API, and the causes that an API maps to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec

from appliance.errors import ApplianceError


class Issue(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request. `loc`: path to the member, `field`: the same with dots."""

    type: str
    loc: tuple[str | int, ...]
    field: str
    msg: str

    @classmethod
    def of(cls, location: Sequence[str | int], rule: str, kind: str = "value_error") -> Self:
        """The issue `rule` at `location`, with texts clipped: a member's name may be the caller's."""
        parts = tuple(part if isinstance(part, int) else part[:100] for part in location[:8])
        return cls(kind, parts, ".".join(str(part) for part in parts), rule[:500])


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What every answer other than 2xx holds."""

    error: str
    validation_issues: tuple[Issue, ...] = ()


class HttpError(ApplianceError):
    """A request that is answered with `status` (an HTTP 4xx or 5xx) and `body`. `reason`: what it is counted as."""

    def __init__(
        self, status: int, error: str, *, headers: tuple[tuple[bytes, bytes], ...] = (), reason: str | None = None
    ) -> None:
        super().__init__(f"{status}: {error}")
        self.reason = reason or f"http-{status}"
        self.status = status
        self.headers = headers
        self.body = ErrorBody(error)


class Refused(HttpError):
    """An act of an operator's that the rules do not permit now: HTTP 409, with each reason."""

    def __init__(self, error: str, reasons: Sequence[str], field: str = "perspective") -> None:
        super().__init__(409, error)
        self.body = ErrorBody(error, tuple(Issue.of((field,), reason) for reason in reasons[:32]))


class Malformed(HttpError):
    """A request that is not what the API asks for: HTTP 400, with what is wrong and where."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__(400, "Request validation failed.")
        self.body = ErrorBody("Request validation failed.", tuple(issues[:32]))
