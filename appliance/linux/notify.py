"""Readiness and watchdog of systemd (sd_notify(3)); nothing happens where no service manager listens."""

from __future__ import annotations

from systemd import daemon


def notify(*, ready: bool, status: str) -> None:
    """Tells that the service is alive and, where `ready`, that it is started; `status` is one line for an operator."""
    states = ["WATCHDOG=1", f"STATUS={status}", *(["READY=1"] if ready else [])]
    daemon.notify("\n".join(states))


def stopping() -> None:
    """Tells that the service is about to end."""
    daemon.notify("STOPPING=1")
