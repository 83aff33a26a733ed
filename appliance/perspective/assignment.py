"""What one worker and its resolver are to be, the same words for a remote perspective and for the primary."""

from __future__ import annotations

import msgspec

from appliance.config.schema import IpAddress, PerspectiveConfig, Settings
from appliance.errors import ConfigError


class Assignment(msgspec.Struct, frozen=True):
    """`interface`: the only one besides `lo`. `egress_addresses`: what outside anchors must see, canonical text.

    `far_addresses`: who answers echo requests at the other end of the path, the egress node's inner addresses or the
    site's gateways. `probe_mtu`: the size of the larger echo request in octets, None where only a small one is sent.
    `status_port`: where the egress node tells how it is, None where it is not asked.
    `far_must_answer`: whether a far end that has never answered means that the path is down; a site's gateway may filter.
    """

    code: str
    user: str | int
    interface: str
    far_addresses: tuple[IpAddress, ...]
    far_must_answer: bool
    probe_mtu: int | None
    egress_addresses: frozenset[str]
    status_port: int | None = None

    @property
    def versions(self) -> frozenset[int]:
        """The IP versions that this perspective reaches the Internet by."""
        return frozenset(6 if ":" in address else 4 for address in self.egress_addresses)

    @property
    def tunnelled(self) -> bool:
        """Whether the path is a tunnel to an egress node; the primary's is not."""
        return self.probe_mtu is not None


def assignment_of(settings: Settings, code: str) -> Assignment:
    """The assignment of perspective `code`, or of the primary. Raises `ConfigError` where there is no such worker."""
    for perspective in settings.perspectives:
        if perspective.code == code:
            return _remote(settings, perspective)
    primary = settings.primary
    if primary.code != code:
        known = ", ".join([primary.code, *(perspective.code for perspective in settings.perspectives)])
        raise ConfigError([f"perspective {code!r}: not configured; there are {known}"])
    if primary.kind == "caller":
        raise ConfigError([f'perspective {code!r}: has no worker with primary.kind = "caller"'])
    return Assignment(
        code=code,
        user=settings.users.primary,
        interface=primary.interface,
        far_addresses=primary.gateways,
        far_must_answer=False,
        probe_mtu=None,
        egress_addresses=frozenset(str(address.ip) for address in primary.addresses),
    )


def _remote(settings: Settings, perspective: PerspectiveConfig) -> Assignment:
    wireguard = perspective.wireguard
    return Assignment(
        code=perspective.code,
        user=settings.users.perspective,
        interface=wireguard.interface,
        far_addresses=wireguard.peer_addresses,
        far_must_answer=True,
        probe_mtu=wireguard.mtu,
        egress_addresses=frozenset(str(address) for address in perspective.egress_addresses),
        status_port=wireguard.status_port or None,
    )
