"""Reading tcpdump's files: IPv4 and IPv6, TCP, UDP and ICMP, as much as a test counts by."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_GLOBAL_HEADER_SIZE: Final = 24
_RECORD_HEADER: Final = struct.Struct("<IIII")
_LITTLE_ENDIAN_MAGIC: Final = b"\xd4\xc3\xb2\xa1"
# Link types by number -> (offset of the EtherType, size of the header); None: the packet is bare IP.
_LINK_TYPES: Final[dict[int, tuple[int, int] | None]] = {1: (12, 14), 101: None, 113: (14, 16), 276: (0, 20)}
_IPV4_TYPE: Final = 0x0800
_IPV6_TYPE: Final = 0x86DD
_PORTED: Final = {6: "tcp", 17: "udp"}
_NAMES: Final = {**_PORTED, 1: "icmp", 58: "icmpv6"}
_FRAGMENT_HEADER: Final = 44
_SKIPPED_HEADERS: Final = (0, 43, 60)


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet; ports are 0 where the protocol has none. `length` is the IP packet's, in bytes.

    `payload` follows the UDP or TCP header, or the IP header of another protocol.
    """

    time_s: float
    src: IPv4Address | IPv6Address
    dst: IPv4Address | IPv6Address
    proto: str
    sport: int
    dport: int
    length: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame that is not IP, such as ARP."""

    time_s: float
    ether_type: int
    data: bytes


def read(data: bytes) -> Iterator[Packet | Frame]:
    """Every whole frame in the file; a record that is still being written ends the reading."""
    if len(data) < _GLOBAL_HEADER_SIZE:
        return
    if data[:4] != _LITTLE_ENDIAN_MAGIC:
        raise ValueError("not a little-endian pcap file with microseconds")
    link_type = struct.unpack_from("<I", data, 20)[0] & 0xFFFF
    if link_type not in _LINK_TYPES:
        raise ValueError(f"link type {link_type} is not known")
    layout = _LINK_TYPES[link_type]
    position = _GLOBAL_HEADER_SIZE
    while position + _RECORD_HEADER.size <= len(data):
        seconds, microseconds, captured, _ = _RECORD_HEADER.unpack_from(data, position)
        start = position + _RECORD_HEADER.size
        position = start + captured
        if position > len(data):
            return
        yield _frame(seconds + microseconds / 1e6, layout, data[start:position])


def _frame(time_s: float, layout: tuple[int, int] | None, frame: bytes) -> Packet | Frame:
    if layout is None:
        ether_type, packet = (_IPV6_TYPE if frame[:1] and frame[0] >> 4 == 6 else _IPV4_TYPE), frame
    else:
        offset, size = layout
        ether_type, packet = int.from_bytes(frame[offset : offset + 2], "big"), frame[size:]
    if ether_type == _IPV4_TYPE and len(packet) >= 20:
        return _ipv4(time_s, packet)
    if ether_type == _IPV6_TYPE and len(packet) >= 40:
        return _ipv6(time_s, packet)
    return Frame(time_s, ether_type, packet)


def _ipv4(time_s: float, packet: bytes) -> Packet:
    length = int.from_bytes(packet[2:4], "big")
    header_size = 4 * (packet[0] & 15)
    first_fragment = int.from_bytes(packet[6:8], "big") & 0x1FFF == 0
    body = packet[header_size:length]
    return _packet(time_s, packet[12:16], packet[16:20], packet[9], body, length=length, first_fragment=first_fragment)


def _ipv6(time_s: float, packet: bytes) -> Packet:
    length = 40 + int.from_bytes(packet[4:6], "big")
    number, body, first_fragment = packet[6], packet[40:length], True
    while number in (*_SKIPPED_HEADERS, _FRAGMENT_HEADER) and len(body) >= 8:
        if number == _FRAGMENT_HEADER:
            first_fragment = int.from_bytes(body[2:4], "big") & 0xFFF8 == 0
        size = 8 if number == _FRAGMENT_HEADER else 8 * (body[1] + 1)
        number, body = body[0], body[size:]
    return _packet(time_s, packet[8:24], packet[24:40], number, body, length=length, first_fragment=first_fragment)


def _packet(
    time_s: float, src: bytes, dst: bytes, number: int, body: bytes, *, length: int, first_fragment: bool
) -> Packet:
    name = _NAMES.get(number, str(number))
    sport = dport = header_size = 0
    if first_fragment and number in _PORTED and len(body) >= 8:
        sport, dport = struct.unpack_from("!HH", body)
        header_size = 8 if name == "udp" else 4 * (body[12] >> 4) if len(body) > 12 else len(body)
    return Packet(time_s, ip_address(src), ip_address(dst), name, sport, dport, length, body[header_size:])
