"""For all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    # A shell that starts the tests in the background has SIGINT ignored, which every process of the lab would inherit.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
