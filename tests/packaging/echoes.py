"""What the Internet sees of the egress nodes' mpic-echo: who asked whom, and who answered with a signature."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType

from appliance.net.echo import is_signed, nonce_of, public_key
from tests.lab import topology
from tests.lab.capture import Capture
from tests.lab.places import ECHO_PORT, router_of

_ADDRESSES = {site.code: site.address.v4 for site in (topology.PRIMARY, *topology.EGRESSES)}
_CODES: dict[IPv4Address | IPv6Address, str] = {address: code for code, address in _ADDRESSES.items()}


class Echoes:
    """While open, listens in the router before each of these nodes. `keys`: the public key of each node's mpic-echo by code."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = {code: public_key(key) for code, key in keys.items()}
        self._captures: dict[str, Capture] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Echoes:
        with contextlib.ExitStack() as stack:
            for code in self._keys:
                capture = Capture(router_of(code), "any", f"udp port {ECHO_PORT}")
                self._captures[code] = stack.enter_context(capture)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def asked(self) -> set[tuple[str, str]]:
        """Codes of who asked, from its own egress address, and of the node, so far."""
        return {(asker, code) for code in self._keys for asker in self._nonces(code).values()}

    def answered(self) -> set[tuple[str, str]]:
        """The same, where the node signed that very question."""
        return {(asker, code) for code in self._keys for asker in self._answered(code)}

    def _nonces(self, code: str) -> dict[bytes, str]:
        return {
            nonce_of(packet.payload) or b"": _CODES[packet.src]
            for packet in self._captures[code].packets()
            if packet.dst == _ADDRESSES[code] and packet.dport == ECHO_PORT and packet.src in _CODES
        }

    def _answered(self, code: str) -> Iterator[str]:
        asked = self._nonces(code)
        for packet in self._captures[code].packets():
            asker = asked.get(nonce_of(packet.payload) or b"")
            came_back = packet.src == _ADDRESSES[code] and packet.sport == ECHO_PORT and _CODES.get(packet.dst) == asker
            if asker is not None and came_back and is_signed(packet.payload, self._keys[code]):
                yield asker
