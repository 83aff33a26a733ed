"""What the Internet sees of the egress nodes' mpic-echo: who asked whom, and who answered with a signature."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType

from appliance.net.echo import is_signed, nonce_of, public_key
from tests.lab import topology
from tests.lab.capture import Capture
from tests.lab.places import ECHO_PORT, router_of

_SITES = (topology.PRIMARY, *topology.EGRESSES)
_CODES: dict[IPv4Address | IPv6Address, str] = {site.address.v4: site.code for site in _SITES}


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

    def answered(self) -> set[tuple[str, str]]:
        """Codes of who asked, from its own egress address, and of the node that signed that very question, so far."""
        return {(asker, code) for code in self._keys for asker in self._askers(code)}

    def _askers(self, code: str) -> set[str]:
        node = next(address for address, one in _CODES.items() if one == code)
        asked: dict[bytes, str] = {}
        found = set()
        for packet in self._captures[code].packets():
            nonce = nonce_of(packet.payload) or b""
            if packet.dst == node and packet.dport == ECHO_PORT and packet.src in _CODES:
                asked[nonce] = _CODES[packet.src]
            asker = asked.get(nonce)
            came_back = packet.src == node and packet.sport == ECHO_PORT and _CODES.get(packet.dst) == asker
            if asker is not None and came_back and is_signed(packet.payload, self._keys[code]):
                found.add(asker)
        return found
