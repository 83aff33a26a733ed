"""The names and networks that unit tests are about: all reserved for tests and documentation, and here allowed."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Final

from appliance.net.special_use_registry import FOR_TESTS
from appliance.net.validatable import Exceptions

EXCEPTIONS: Final = Exceptions(
    tuple(ip_network(text) for text in ("192.0.2.0/24", "198.18.0.0/15", "2001:db8::/32")),
    tuple(name for name, _ in FOR_TESTS),
)
