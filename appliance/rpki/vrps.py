"""A VRP export (the JSON of rpki-client and Routinator) read with bounds, and the state of a route against it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

import msgspec

from appliance.errors import UNDECODABLE, ApplianceError
from appliance.model.rov import RpkiState

MAX_BYTES = 256 << 20
MAX_VRPS = 5_000_000
_MAX_ASN = 2**32 - 1
_BITS = {4: 32, 6: 128}

IpNetwork = IPv4Network | IPv6Network
_Key = tuple[int, int, int]


class BadExport(ApplianceError):
    """The file is no VRP export, or larger than one can be. The text says where and why."""


class _Entry(msgspec.Struct):
    asn: int | str
    prefix: str
    maxLength: int  # noqa: N815 -- the export's own name
    expires: int | None = None


class _Metadata(msgspec.Struct):
    buildtime: str | None = None
    generated: int | None = None
    generatedTime: str | None = None  # noqa: N815 -- the export's own name


class _Export(msgspec.Struct):
    roas: list[_Entry]
    metadata: _Metadata | None = None


_decoder = msgspec.json.Decoder(_Export)


class Vrps:
    """Validated ROA payloads. `generated`: when the export was made, UTC."""

    def __init__(self, generated: datetime, entries: Iterable[tuple[int, int, int, int, int]]) -> None:
        self.generated = generated
        self._by_prefix: dict[_Key, list[tuple[int, int]]] = {}
        self.count = 0
        for version, network, length, max_length, asn in entries:
            self._by_prefix.setdefault((version, length, network), []).append((max_length, asn))
            self.count += 1

    def state(self, prefix: IpNetwork, origin_asn: int) -> RpkiState:
        """The state of a route to `prefix` of this origin (RFC 6811 section 2); AS 0 matches nothing (RFC 6483 section 4)."""
        covered = False
        for max_length, asn in self._covering(prefix):
            if prefix.prefixlen <= max_length and asn == origin_asn and asn != 0:
                return RpkiState.VALID
            covered = True
        return RpkiState.INVALID if covered else RpkiState.NOT_FOUND

    def most_specific(self, address: IPv4Address | IPv6Address) -> IpNetwork | None:
        """The longest prefix of any VRP that covers `address`: what is announced is most often that; None without one."""
        bits, number = _BITS[address.version], int(address)
        for length in range(bits, -1, -1):
            network = number >> (bits - length) << (bits - length)
            if (address.version, length, network) in self._by_prefix:
                return ip_network((network.to_bytes(bits // 8, "big"), length))
        return None

    def _covering(self, prefix: IpNetwork) -> Iterator[tuple[int, int]]:
        bits, number = _BITS[prefix.version], int(prefix.network_address)
        for length in range(prefix.prefixlen + 1):
            network = number >> (bits - length) << (bits - length)
            yield from self._by_prefix.get((prefix.version, length, network), ())


def read_vrps(path: Path, *, max_bytes: int = MAX_BYTES) -> Vrps:
    """The export at `path`, expired entries left out. Raises `BadExport`; also for one without any VRP, which fails open."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
            modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise BadExport(f"{path}: {error.strerror}") from error
    if len(content) > max_bytes:
        raise BadExport(f"{path}: more than {max_bytes} bytes")
    try:
        return parse_vrps(content, modified, datetime.now(UTC))
    except BadExport as error:
        raise BadExport(f"{path}: {error}") from error


def parse_vrps(content: bytes, modified: datetime, now: datetime) -> Vrps:
    """The export in `content`; `modified` stands for its time where it tells none. Raises `BadExport`."""
    try:
        export = _decoder.decode(content)
    except UNDECODABLE as error:
        raise BadExport(f"not a VRP export: {error}") from error
    if len(export.roas) > MAX_VRPS:
        raise BadExport(f"more than {MAX_VRPS} VRPs")
    expired_before = int(now.timestamp())
    found = Vrps(
        _generated(export.metadata, modified),
        (_parsed(one) for one in export.roas if one.expires is None or one.expires > expired_before),
    )
    if found.count == 0:
        raise BadExport("no VRP that has not expired")
    return found


def _generated(metadata: _Metadata | None, modified: datetime) -> datetime:
    if metadata is None:
        return modified
    text = metadata.buildtime or metadata.generatedTime
    try:
        if text is not None:
            stated = datetime.fromisoformat(text)
            return stated if stated.tzinfo is not None else stated.replace(tzinfo=UTC)
        return modified if metadata.generated is None else datetime.fromtimestamp(metadata.generated, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadExport(f"metadata: {error}") from error


def _parsed(entry: _Entry) -> tuple[int, int, int, int, int]:
    """IP version, network, prefix length, maxLength, ASN. By hand: half a million through `ipaddress` take seconds."""
    address, _, length_text = entry.prefix.partition("/")
    version = 6 if ":" in address else 4
    bits = _BITS[version]
    try:
        packed = socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, address)
        length = int(length_text)
        asn = entry.asn if isinstance(entry.asn, int) else int(entry.asn.removeprefix("AS"))
    except (OSError, ValueError) as error:
        raise BadExport(f"VRP {entry.prefix[:64]!r} of {str(entry.asn)[:16]!r}: {error}") from error
    network = int.from_bytes(packed, "big")
    host_bits = network & ((1 << (bits - length)) - 1) if 0 <= length <= bits else 1
    if host_bits or not length <= entry.maxLength <= bits or not 0 <= asn <= _MAX_ASN:
        raise BadExport(f"VRP {entry.prefix[:64]!r} maxLength {entry.maxLength} of AS{asn}: out of range")
    return version, network, length, entry.maxLength, asn
