"""VRP exports: what is read of them, what is refused, and RFC 6811 against a second way to compute it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.rov import RpkiState
from appliance.rpki.vrps import BadExport, Vrps, parse_vrps, read_vrps

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=3)


def parse(document: Any) -> Vrps:
    return parse_vrps(json.dumps(document).encode(), EARLIER, NOW)


def roa(prefix: str, max_length: int, asn: int | str, **more: Any) -> dict[str, Any]:
    return {"asn": asn, "prefix": prefix, "maxLength": max_length, "ta": "ripe", **more}


def test_rpki_clients_and_routinators_forms_are_read() -> None:
    client = parse({"metadata": {"buildtime": "2026-11-21T11:00:00Z"}, "roas": [roa("192.0.2.0/24", 24, 64500)]})
    routinator = parse(
        {
            "metadata": {"generated": 1795258800, "generatedTime": "2026-11-21T11:00:00Z"},
            "roas": [roa("192.0.2.0/24", 24, "AS64500")],
        }
    )
    for export in (client, routinator):
        assert export.state(ip_network("192.0.2.0/24"), 64500) is RpkiState.VALID
        assert export.generated == NOW - timedelta(hours=1)
    assert parse({"roas": [roa("2001:db8::/32", 48, 1)]}).generated == EARLIER


def test_states_are_those_of_rfc_6811() -> None:
    export = parse({"roas": [roa("192.0.2.0/23", 24, 64500), roa("2001:db8::/32", 32, 0)]})
    assert export.state(ip_network("192.0.3.0/24"), 64500) is RpkiState.VALID
    assert export.state(ip_network("192.0.3.0/25"), 64500) is RpkiState.INVALID
    assert export.state(ip_network("192.0.3.0/24"), 64501) is RpkiState.INVALID
    assert export.state(ip_network("192.0.0.0/22"), 64500) is RpkiState.NOT_FOUND
    assert export.state(ip_network("2001:db8::/32"), 0) is RpkiState.INVALID
    assert export.state(ip_network("2001:db9::/32"), 0) is RpkiState.NOT_FOUND
    assert export.most_specific(ip_address("192.0.3.9")) == ip_network("192.0.2.0/23")
    assert export.most_specific(ip_address("198.51.100.1")) is None


NETWORKS = st.builds(
    lambda number, length: ip_network(((0x0A000000 | number) >> (32 - length) << (32 - length), length)),
    st.integers(0, 255),
    st.integers(24, 32),
)


@given(st.lists(st.tuples(NETWORKS, st.integers(0, 4), st.integers(0, 3)), min_size=1), NETWORKS, st.integers(0, 3))
def test_the_index_agrees_with_a_scan(
    roas: list[tuple[IPv4Network, int, int]], announced: IPv4Network, origin: int
) -> None:
    entries = [(network, min(32, network.prefixlen + more), asn) for network, more, asn in roas]
    export = parse({"roas": [roa(str(network), longest, asn) for network, longest, asn in entries]})
    covering = [one for one in entries if announced.subnet_of(one[0])]
    matching = [one for one in covering if announced.prefixlen <= one[1] and one[2] == origin != 0]
    expected = RpkiState.VALID if matching else RpkiState.INVALID if covering else RpkiState.NOT_FOUND
    assert export.state(announced, origin) is expected


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"roas": []},
        {"roas": [roa("192.0.2.0/24", 23, 1)]},
        {"roas": [roa("192.0.2.0/24", 33, 1)]},
        {"roas": [roa("192.0.2.1/24", 24, 1)]},
        {"roas": [roa("192.0.2.0/-1", 24, 1)]},
        {"roas": [roa("192.0.2.0", 24, 1)]},
        {"roas": [roa("name/24", 24, 1)]},
        {"roas": [roa("192.0.2.0/24", 24, -1)]},
        {"roas": [roa("192.0.2.0/24", 24, 2**32)]},
        {"roas": [roa("192.0.2.0/24", 24, "ASx")]},
        {"roas": [roa("192.0.2.0/24", 24, 1, expires=1)]},
        {"roas": [roa("192.0.2.0/24", 24, 1)], "metadata": {"buildtime": "yesterday"}},
        {"roas": {"asn": 1}},
        [],
    ],
)
def test_what_is_no_export_is_refused(document: Any) -> None:
    with pytest.raises(BadExport):
        parse(document)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_refused(content: bytes) -> None:
    with pytest.raises(BadExport):
        parse_vrps(content, EARLIER, NOW)


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "vrps.json"
    path.write_text(json.dumps({"roas": [roa("192.0.2.0/24", 24, 1, expires=int(time.time()) + 60)]}))
    assert read_vrps(path).count == 1
    with pytest.raises(BadExport, match="more than 10 bytes"):
        read_vrps(path, max_bytes=10)
    with pytest.raises(BadExport, match="No such file"):
        read_vrps(tmp_path / "missing")
