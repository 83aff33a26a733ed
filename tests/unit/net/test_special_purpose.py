"""No special-purpose address is let through, in any notation, and exceptions open no more than they say."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.special_purpose import refused, special_purpose_networks

LAB = (ip_network("198.18.0.0/15"), ip_network("2001:db8::/32"))
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


SPECIAL = """
    0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 169.254.169.254 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1
    198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::a9fe:a9fe 64:ff9b::808:808 64:ff9b:1::1 100::1 100:0:0:1::1
    2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd12::1 fe80::1
    fec0::1 ff02::1 4000::1 e000::1 200::1
"""
GLOBAL = "1.1.1.1 8.8.8.8 198.17.255.255 198.20.0.0 223.255.255.255 2606:4700::1111 2a00::1"


@pytest.mark.parametrize("address", SPECIAL.split())
def test_special_purpose_is_refused(address: str) -> None:
    assert refused(address) is not None


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00::1"]
)
def test_global_unicast_is_not(address: str) -> None:
    assert refused(address) is None


@pytest.mark.parametrize(
    "text",
    ["127.1", "2130706433", "0x7f000001", "010.0.0.1", "1.2.3.4 ", "", "fe80::1%eth0", "2606:4700::1%1", "a.example"],
)
def test_what_is_no_canonical_address_is_refused(text: str) -> None:
    assert refused(text, LAB) is not None


@pytest.mark.parametrize("address", ["198.18.0.1", "198.19.255.255", "2001:db8::1"])
def test_an_exception_opens_its_network(address: str) -> None:
    assert refused(address, LAB) is None


@given(st.integers(0, 2**17 - 1))
def test_no_exception_opens_an_embedding(offset: int) -> None:
    number = int(IPv4Address("198.18.0.0")) + offset
    for prefix in ("::ffff:0:0", "::", "64:ff9b::", "64:ff9b:1::"):
        assert refused(str(IPv6Address(int(IPv6Address(prefix)) | number)), LAB) is not None
    assert refused(str(IPv6Address(0x2002 << 112 | number << 80)), LAB) is not None


@given(ADDRESSES)
def test_the_resolver_is_told_of_exactly_the_same_addresses(address: IPv4Address | IPv6Address) -> None:
    for exceptions in ((), LAB):
        listed = any(address.version == n.version and address in n for n in special_purpose_networks(exceptions))
        assert listed == (refused(str(address), exceptions) is not None)


@given(ADDRESSES)
def test_never_laxer_than_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global and not str(address).startswith(("192.31.196.", "192.52.193.", "192.175.48.")):
        assert refused(str(address)) is not None


def test_edges_of_every_network() -> None:
    for network in special_purpose_networks(LAB):
        for edge in (network.network_address, network.broadcast_address):
            assert refused(str(edge), LAB) is not None
        outside = int(network.broadcast_address) + 1
        if outside < 2**network.max_prefixlen:
            neighbour = ip_address(outside) if network.version == 4 else IPv6Address(outside)
            listed = any(neighbour.version == n.version and neighbour in n for n in special_purpose_networks(LAB))
            assert (refused(str(neighbour), LAB) is not None) == listed
