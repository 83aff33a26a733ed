"""Rules between keys: each returns lines of the form `key: rule`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from appliance.config.remote_identity import RemoteIdentity, identity_of, plain_address
from appliance.config.schema import IpAddress, PerspectiveConfig, RemotePerspectiveConfig, Settings


def problems(settings: Settings) -> list[str]:
    """Every rule between keys that these settings break; empty when they hold together. Reads no file but key files' names."""
    return [
        *_primary(settings),
        *_unique(settings),
        *_second_addresses(settings),
        *_families(settings),
        *_limits(settings),
        *_anchors(settings),
        *_echoes(settings),
        *_tcp(settings),
        *_rov(settings),
    ]


def _primary(settings: Settings) -> Iterator[str]:
    primary = settings.primary
    if primary.kind == "caller":
        return
    if primary.netns is None:
        yield 'primary.netns: required with primary.kind = "local"'
    if primary.uplink is None:
        yield 'primary.uplink: required with primary.kind = "local"'
    if not primary.addresses:
        yield 'primary.addresses: required with primary.kind = "local"'
    if primary.link == "macvlan" and not primary.gateways:
        yield 'primary.gateways: required with primary.link = "macvlan"'


def _unique(settings: Settings) -> Iterator[str]:
    def keyed(name: str, of: Callable[[PerspectiveConfig], Iterable[object]]) -> Iterator[str]:
        seen: dict[object, str] = {}
        for index, perspective in enumerate(settings.perspectives):
            for value in of(perspective):
                if value in seen:
                    yield f"perspectives.{index}.{name}: {value} is already that of {seen[value]}"
                seen[value] = perspective.code

    yield from keyed("code", lambda p: [p.code])
    yield from keyed("netns", lambda p: [p.netns])
    yield from keyed("egress_addresses", lambda p: p.egress_addresses)
    yield from keyed("wireguard.interface", lambda p: [p.wireguard.interface])
    yield from keyed("wireguard.listen_port", lambda p: [p.wireguard.listen_port])
    yield from keyed("wireguard.private_key_file", lambda p: [p.wireguard.private_key_file])
    yield from keyed("wireguard.public_key", lambda p: [p.wireguard.public_key])
    yield from keyed("wireguard.endpoint", lambda p: [p.wireguard.endpoint])
    yield from keyed("wireguard.addresses", lambda p: [a.ip for a in p.wireguard.addresses])
    yield from _unique_remotes(settings)
    yield from keyed("wireguard.second_addresses", lambda p: [a.ip for a in p.wireguard.second_addresses])
    yield from _not_the_primarys(settings)


def _not_the_primarys(settings: Settings) -> Iterator[str]:
    for index, perspective in enumerate(settings.perspectives):
        if perspective.code == settings.primary.code:
            yield f"perspectives.{index}.code: {perspective.code} is the primary's"
        for address in perspective.egress_addresses:
            if address in _primary_addresses(settings):
                yield f"perspectives.{index}.egress_addresses: {address} is the primary's"
        if perspective.netns == settings.primary.netns:
            yield f"perspectives.{index}.netns: {perspective.netns} is the primary's"
        if perspective.wireguard.interface == settings.primary.interface:
            yield f"perspectives.{index}.wireguard.interface: {perspective.wireguard.interface} is the primary's"


def _primary_addresses(settings: Settings) -> set[IpAddress]:
    """Of a primary that this appliance runs: with `kind = "caller"` its addresses do not count."""
    return {plain_address(one.ip) for one in settings.primary.addresses if settings.primary.kind == "local"}


def _unique_remotes(settings: Settings) -> Iterator[str]:
    """One perspective, or one way out to the Internet, under two codes would count twice in a quorum (BR 3.2.2.9)."""
    codes = {settings.primary.code: "primary"}
    addresses = dict.fromkeys(_primary_addresses(settings), f"primary ({settings.primary.code})")
    for index, own in enumerate(settings.perspectives):
        codes[own.code] = f"perspectives.{index}"
        for address in own.egress_addresses:
            addresses[plain_address(address)] = f"perspectives.{index} ({own.code})"
    for index, remote in enumerate(settings.remote_perspectives):
        entry = f"remote_perspectives.{index}"
        if remote.code in codes:
            yield f"{entry}.code: {remote.code} is used twice: {codes[remote.code]} has it, too"
        codes[remote.code] = entry
        for address in map(plain_address, remote.egress_addresses):
            if address in addresses:
                yield f"{entry}.egress_addresses: {address} is used twice: {addresses[address]} has it, too"
            addresses[address] = f"{entry} ({remote.code})"
    yield from _same_perspective(settings)


def _same_perspective(settings: Settings) -> Iterator[str]:
    named: dict[RemoteIdentity, str] = {}
    for index, remote in enumerate(settings.remote_perspectives):
        key = f"remote_perspectives.{index}.url"
        try:
            identity = identity_of(remote.url)
        except ValueError as error:
            yield f"{key}: {error}"
            continue
        entry = f"remote_perspectives.{index} ({remote.code})"
        if identity in named:
            yield (
                f"{key}: {entry} and {named[identity]} name the same perspective, {identity}; one perspective counts once"
                " (BR 3.2.2.9): remove one of the two entries"
            )
        named.setdefault(identity, entry)
        yield from _ourselves(settings, remote, key, identity)


def _ourselves(
    settings: Settings, remote: RemotePerspectiveConfig, key: str, identity: RemoteIdentity
) -> Iterator[str]:
    """A listener of our own offers our own perspectives."""
    at_loopback = {"127.0.0.1", "::1", "localhost"}
    for index, listener in enumerate(settings.api.tcp):
        ours = {str(plain_address(listener.address))}
        if listener.address.is_unspecified:
            ours |= {str(address) for address in _primary_addresses(settings)} | at_loopback
        elif listener.address.is_loopback:
            ours |= at_loopback
        if identity.port == listener.port and identity.host in ours:
            yield (
                f"{key}: {identity} ({remote.code}) is api.tcp.{index}, this appliance itself; a remote perspective must be"
                " another's: remove the entry"
            )


def _second_addresses(settings: Settings) -> Iterator[str]:
    first = {a.ip: perspective.code for perspective in settings.perspectives for a in perspective.wireguard.addresses}
    for index, perspective in enumerate(settings.perspectives):
        for address in perspective.wireguard.second_addresses:
            if address.ip in first:
                key = f"perspectives.{index}.wireguard.second_addresses"
                yield f"{key}: {address.ip} is already that of {first[address.ip]}"


def _families(settings: Settings) -> Iterator[str]:
    for index, perspective in enumerate(settings.perspectives):
        inner = {a.version for a in perspective.wireguard.addresses}
        peer = {a.version for a in perspective.wireguard.peer_addresses}
        outer = {a.version for a in perspective.egress_addresses}
        if inner != peer:
            yield f"perspectives.{index}.wireguard.peer_addresses: must be of the same families as addresses"
        second = {a.version for a in perspective.wireguard.second_addresses}
        if second and inner != second:
            yield f"perspectives.{index}.wireguard.second_addresses: must be of the same families as addresses"
        if inner != outer:
            yield f"perspectives.{index}.egress_addresses: must be of the same families as wireguard.addresses"


def _limits(settings: Settings) -> Iterator[str]:
    limits = settings.limits
    if limits.check_s > limits.answer_s:
        yield "limits.check_s: must not exceed limits.answer_s"


def _tcp(settings: Settings) -> Iterator[str]:
    for index, listener in enumerate(settings.api.tcp):
        key = f"api.tcp.{index}"
        if listener.authentication is None:
            yield f'{key}.authentication: required: "mutual-tls", or "api-key" on loopback; TCP is not served without'
            continue
        if listener.authentication == "api-key":
            if not listener.address.is_loopback:
                yield f'{key}.authentication: must be "mutual-tls" beyond loopback'
            if listener.client_ca_file is not None:
                yield f'{key}.client_ca_file: only with authentication = "mutual-tls"'
            if (listener.certificate_file is None) != (listener.private_key_file is None):
                yield f"{key}.certificate_file: goes with private_key_file"
            continue
        for name in ("certificate_file", "private_key_file", "client_ca_file"):
            if getattr(listener, name) is None:
                yield f'{key}.{name}: required with authentication = "mutual-tls"'


def _rov(settings: Settings) -> Iterator[str]:
    rov = settings.rov
    if rov.policy == "require" and settings.remote_perspectives:
        yield 'remote_perspectives: not with rov.policy = "require": routes to others\' perspectives cannot be measured'
    if rov.policy == "require" and rov.vrp_file is None:
        yield 'rov.vrp_file: required with rov.policy = "require": without it no verdict can be FILTERING'
    if rov.feed.vrp_url is not None and rov.vrp_file is None:
        yield "rov.vrp_file: required with rov.feed.vrp_url"
    if rov.feed.beacons_url is not None and rov.beacons_file is None:
        yield "rov.beacons_file: required with rov.feed.beacons_url"


def _anchors(settings: Settings) -> Iterator[str]:
    for index, anchor in enumerate(settings.anchors):
        if anchor.ca_file is not None and not anchor.authenticated:
            yield f"anchors.{index}.ca_file: only with an https:// url, since nothing verifies an http:// anchor"
        if any(other.url == anchor.url and other.ca_file != anchor.ca_file for other in settings.anchors[:index]):
            yield f"anchors.{index}.ca_file: differs from that of an earlier anchor with the same url"


def _echoes(settings: Settings) -> Iterator[str]:
    """An anchor that answers under two names would be counted twice; one key at two places proves neither."""
    names = {settings.primary.code, *(perspective.code for perspective in settings.perspectives)}
    keys: dict[str, str] = {}
    echoes = [(f"perspectives.{index}.echo", p.echo) for index, p in enumerate(settings.perspectives) if p.echo]
    for index, anchor in enumerate(settings.place_anchors):
        if anchor.name in names:
            yield f"place_anchors.{index}.name: {anchor.name} is already taken"
        names.add(anchor.name)
        echoes.append((f"place_anchors.{index}", anchor))
    for key, echo in echoes:
        if echo.public_key in keys:
            yield f"{key}.public_key: is already that of {keys[echo.public_key]}"
        keys[echo.public_key] = key
