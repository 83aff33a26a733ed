"""Errors that the command shows."""

from __future__ import annotations


class EgressError(Exception):
    """Base of what goes wrong in a way that an operator can act on; the text says what, ready to show."""


class ConfigError(EgressError):
    """The configuration breaks rules: one line each, `file: key: rule`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CommandFailed(EgressError):
    """A command ended with another status than 0, or not in time. The text has the command, ready to paste."""


class NameTaken(EgressError):
    """Another process answers for a WireGuard interface of that name."""
