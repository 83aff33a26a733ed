"""`egress.toml`: its keys and rules, read once."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from egress.errors import ConfigError

DEFAULT_PATH = Path("/etc/mpic/egress.toml")
IpAddress = IPv4Address | IPv6Address
IpInterface = IPv4Interface | IPv6Interface
IpNetwork = IPv4Network | IPv6Network
# IFNAMSIZ is 16 with the terminating NUL (linux/if.h).
InterfaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$")]
WireGuardKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PeerConfig(_Section):
    """One appliance. `addresses`: its inner ones, single addresses that no other peer has."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    public_key: WireGuardKey
    preshared_key_file: Path | None = None
    addresses: Annotated[tuple[IpAddress, ...], Field(min_length=1)]


class InterfaceConfig(_Section):
    """One WireGuard interface, with its own port and key; one per tenant. `addresses`: this node's inner ones."""

    name: InterfaceName
    listen_port: Port
    private_key_file: Path
    addresses: Annotated[tuple[IpAddress, ...], Field(min_length=1)]
    mtu: Annotated[int, Field(ge=1280, le=1420)] = 1280
    peers: Annotated[tuple[PeerConfig, ...], Field(min_length=1)]


class UplinkConfig(_Section):
    """The way to the Internet. `egress_addresses`: at most one of each family, used as source; none: the uplink's own."""

    interface: InterfaceName
    egress_addresses: tuple[IpAddress, ...] = ()


class SshConfig(_Section):
    """Who may reach this node's ssh; nobody else may, and nobody through a tunnel."""

    port: Port = 22
    sources: tuple[IpNetwork, ...] = ()


class LimitConfig(_Section):
    """`connections_per_peer`: open at once, counted by inner address. `conntrack_max`: None leaves the kernel's own."""

    connections_per_peer: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    conntrack_max: Annotated[int, Field(ge=4096)] | None = None


class EchoConfig(_Section):
    """The node's `mpic-echo`, a unit of its own, by which other perspectives measure how far away this node is.

    `requests_per_second`: what more than that asks for is dropped.
    """

    port: Port = 51821
    requests_per_second: Annotated[int, Field(ge=1, le=100_000)] = 200


class StatusConfig(_Section):
    """Where `mpic-egress serve` tells the appliances how the node is: a TCP port at its inner addresses alone."""

    port: Port = 51822


class EgressConfig(_Section):
    """`egress.toml`, whole."""

    uplink: UplinkConfig
    interfaces: Annotated[tuple[InterfaceConfig, ...], Field(min_length=1)]
    ssh: SshConfig = SshConfig()
    special_purpose_exceptions: tuple[IpNetwork, ...] = ()
    limits: LimitConfig = LimitConfig()
    status: StatusConfig = StatusConfig()
    echo: EchoConfig | None = None


def load(path: Path) -> EgressConfig:
    """The configuration in `path`. Raises `ConfigError` with one line for each problem, key files included."""
    try:
        config = EgressConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from error
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, d['loc'])) or '(whole file)'}: {d['msg']}" for d in error.errors()]
        raise ConfigError(lines) from error
    found = [f"{path}: {line}" for line in (*_unique(config), *_families(config), *_key_files(config))]
    if found:
        raise ConfigError(found)
    return config


def _unique(config: EgressConfig) -> Iterator[str]:
    seen: dict[object, str] = {}

    def taken(kind: str, value: object, key: str) -> Iterator[str]:
        other = seen.setdefault((kind, value), key)
        if other != key:
            yield f"{key}: {value} is already at {other}"

    for i, interface in enumerate(config.interfaces):
        at = f"interfaces.{i}"
        yield from taken("interface", interface.name, f"{at}.name")
        yield from taken("port", interface.listen_port, f"{at}.listen_port")
        yield from taken("private key", interface.private_key_file, f"{at}.private_key_file")
        if config.echo is not None and config.echo.port == interface.listen_port:
            yield f"echo.port: {config.echo.port} is that of {at}"
        for n, address in enumerate(interface.addresses):
            yield from taken("address", address, f"{at}.addresses.{n}")
        for j, peer in enumerate(interface.peers):
            yield from taken("peer", peer.name, f"{at}.peers.{j}.name")
            yield from taken("key", peer.public_key, f"{at}.peers.{j}.public_key")
            for n, address in enumerate(peer.addresses):
                yield from taken("address", address, f"{at}.peers.{j}.addresses.{n}")
    if any(interface.name == config.uplink.interface for interface in config.interfaces):
        yield f"uplink.interface: {config.uplink.interface} is a tunnel's"


def _families(config: EgressConfig) -> Iterator[str]:
    versions = [address.version for address in config.uplink.egress_addresses]
    if len(versions) != len(set(versions)):
        yield "uplink.egress_addresses: at most one address of each family"
    for i, interface in enumerate(config.interfaces):
        own = {address.version for address in interface.addresses}
        for j, peer in enumerate(interface.peers):
            if not {address.version for address in peer.addresses} <= own:
                yield f"interfaces.{i}.peers.{j}.addresses: of a family that the interface has no address of"


def _key_files(config: EgressConfig) -> Iterator[str]:
    for i, interface in enumerate(config.interfaces):
        yield from _key_file(interface.private_key_file, f"interfaces.{i}.private_key_file")
        for j, peer in enumerate(interface.peers):
            if peer.preshared_key_file is not None:
                yield from _key_file(peer.preshared_key_file, f"interfaces.{i}.peers.{j}.preshared_key_file")


def _key_file(path: Path, key: str) -> Iterator[str]:
    try:
        found = path.lstat()
    except OSError as error:
        yield f"{key}: {path}: {error.strerror}"
        return
    if not stat.S_ISREG(found.st_mode):
        yield f"{key}: {path}: must be a regular file"
    elif found.st_mode & 0o177:
        yield f"{key}: {path}: must have mode 0600, has {stat.S_IMODE(found.st_mode):04o}"
    elif found.st_uid != os.geteuid():
        yield f"{key}: {path}: must belong to the user that runs this, belongs to {found.st_uid}"
