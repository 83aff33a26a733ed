"""Errors that somebody handles, one class per cause. A mismatch at a target is not an error: it is an observation."""

from __future__ import annotations

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that decoding JSON by msgspec raises for bytes that are none of ours."""


class ApplianceError(Exception):
    """Base of every error that the product raises on purpose. The text is fit to show to an operator."""


class ConfigError(ApplianceError):
    """The configuration is unknown, contradictory or cannot comply. `problems` has one line for each: file, key, rule."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class BadRequest(ApplianceError):
    """What the caller asked for is malformed or not permitted: HTTP 400. `field` is a dotted path into the request."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class EvidenceUnavailable(ApplianceError):
    """A record could not be made durable, so the decision must not be answered: HTTP 503 (BR 5.4.1)."""


class ConfinementBroken(ApplianceError):
    """A process is not where, or has more than, it should be: it must not run or answer."""


class ChannelClosed(ApplianceError):
    """The Unix-socket channel to a worker is not there, or went away with the request in flight."""
