"""The address of a peer's endpoint: literal, or looked up by a process without privileges; nothing here reads DNS."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from appliance.config.schema import IpAddress
from appliance.errors import ApplianceError
from appliance.linux.process import CommandFailed, run
from appliance.tunnels import endpoint_lookup

# "nobody": the lookup shares its user with no process of the appliance.
_NOBODY = "65534"
_LOOKUP_S = 10.0


class NoEndpoint(ApplianceError):
    """The endpoint's name has no address now."""


def split(endpoint: str) -> tuple[str, int]:
    """`host:port`, with brackets around an IPv6 address, into its parts."""
    host, _, port = endpoint.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def joined(address: IpAddress, port: int) -> str:
    """The parts into the form that wg(8) takes and shows."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def literal(endpoint: str) -> IpAddress | None:
    """The endpoint's address where it is written as one."""
    try:
        return ip_address(split(endpoint)[0])
    except ValueError:
        return None


async def look_up(name: str) -> list[IpAddress]:
    """The addresses of `name` in the order of getaddrinfo(3). Raises `NoEndpoint`."""
    drop = ["--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups", "--no-new-privs", "--inh-caps", "-all"]
    script = str(Path(endpoint_lookup.__file__))
    command = ["setpriv", *drop, "--bounding-set", "-all", sys.executable, "-I", "-S", script, name]
    try:
        return unpacked(await run(*command, timeout_s=_LOOKUP_S))
    except CommandFailed as error:
        raise NoEndpoint(f"{name}: no address found") from error


def unpacked(data: bytes) -> list[IpAddress]:
    """Reads what `endpoint_lookup` writes. Raises `NoEndpoint` where it is anything else."""
    found: list[IpAddress] = []
    rest = data
    while rest and len(found) < endpoint_lookup.MOST:
        size = {4: 4, 6: 16}.get(rest[0], 0)
        packed, rest = rest[1 : 1 + size], rest[1 + size :]
        if size == 0 or len(packed) != size:
            raise NoEndpoint("the lookup gave no addresses")
        found.append(IPv4Address(packed) if size == 4 else IPv6Address(packed))
    if not found:
        raise NoEndpoint("the lookup gave no addresses")
    return found


class PeerEndpoint:
    """One peer's endpoint as configured, and the address in use for it."""

    def __init__(self, configured: str) -> None:
        self._name, self._port = split(configured)
        self.address = literal(configured)
        self._is_literal = self.address is not None

    @property
    def current(self) -> str | None:
        """`address:port`; None while the name has no address."""
        return None if self.address is None else joined(self.address, self._port)

    async def find(self) -> bool:
        """Looks the name up, a literal apart. True where the address is another now."""
        if self._is_literal:
            return False
        try:
            found = await look_up(self._name)
        except NoEndpoint:
            return False
        # Of several addresses the next one has its turn, since the one in use gives no handshake.
        place = found.index(self.address) + 1 if self.address in found else 0
        before, self.address = self.address, found[place % len(found)]
        return self.address != before
