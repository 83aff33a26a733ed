"""What two perspectives may not have in common: each of these would make two of them one, or let one take the other's packets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.config import Settings
from appliance.config.rules import problems
from tests.unit.coordinator.configuration import document


def test_the_whole_is_taken(tmp_path: Path) -> None:
    assert problems(Settings.model_validate(document(tmp_path))) == []


@pytest.mark.parametrize(
    "key",
    [
        "code",
        "netns",
        "egress_addresses",
        "wireguard.interface",
        "wireguard.listen_port",
        "wireguard.private_key_file",
        "wireguard.public_key",
        "wireguard.endpoint",
        "wireguard.addresses",
    ],
)
def test_what_two_perspectives_may_not_share(tmp_path: Path, key: str) -> None:
    written = document(tmp_path)
    one, other = (_table(written, index, key) for index in (0, 1))
    name = key.rpartition(".")[2]
    other[name] = one[name]
    (found,) = problems(Settings.model_validate(written))
    assert found.startswith(f"perspectives.1.{key}: ")
    assert found.endswith(f"is already that of {written['perspectives'][0]['code']}")


@pytest.mark.parametrize("owner", [0, 1])
def test_the_second_slots_addresses_are_nobody_elses(tmp_path: Path, owner: int) -> None:
    written = document(tmp_path)
    tunnel = written["perspectives"][1]["wireguard"]
    tunnel["second_addresses"] = ["10.77.1.3/32"]
    assert problems(Settings.model_validate(written)) == []
    tunnel["second_addresses"] = written["perspectives"][owner]["wireguard"]["addresses"]
    (found,) = problems(Settings.model_validate(written))
    assert found.startswith("perspectives.1.wireguard.second_addresses: ")
    assert found.endswith(f"is already that of {written['perspectives'][owner]['code']}")


def test_the_second_slots_addresses_are_of_the_same_families(tmp_path: Path) -> None:
    written = document(tmp_path)
    written["perspectives"][1]["wireguard"]["second_addresses"] = ["fd77::3/128"]
    (found,) = problems(Settings.model_validate(written))
    assert "second_addresses: must be of the same families" in found


def _table(written: dict[str, Any], index: int, key: str) -> dict[str, Any]:
    perspective: dict[str, Any] = written["perspectives"][index]
    table: dict[str, Any] = perspective["wireguard"] if "." in key else perspective
    return table


def remotes(written: dict[str, Any], *changes: dict[str, Any]) -> list[str]:
    """The problems of a configuration with a remote perspective for each of `changes`."""
    written["remote_perspectives"] = [
        {
            "code": f"their-{index}",
            "place": written["perspectives"][index]["place"],
            "provider": "partner",
            "upstreams": [64500],
            "origin_asn": 64501,
            "egress_addresses": [f"203.0.113.{index + 1}"],
            "url": f"https://partner.example/perspectives/p{index}",
            "certificate_file": "/c",
            "private_key_file": "/k",
            "ca_file": "/a",
        }
        | change
        for index, change in enumerate(changes)
    ]
    return problems(Settings.model_validate(written))


def test_several_perspectives_at_one_host_are_normal(tmp_path: Path) -> None:
    assert remotes(document(tmp_path), {}, {}, {}) == []
    other = [{"url": f"https://partner.example{path}/perspectives/p"} for path in ("", ":8443", "/a", "/A")]
    assert remotes(document(tmp_path), *other) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://partner.example/perspectives/p", "https://partner.example/perspectives/p"),
        ("https://partner.example/perspectives/p", "https://PARTNER.example./perspectives/p"),
        ("https://partner.example/perspectives/p", "https://partner.example:443/perspectives/p"),
        ("https://partner.example/perspectives/p", "https://partner.example:0443/perspectives/p"),
        ("https://partner.example/perspectives/p", "https://partner.example/a/../perspectives/p"),
        ("https://partner.example/a/perspectives/p", "https://partner.example/%61/./perspectives/p"),
        ("https://bücher.example/perspectives/p", "https://XN--bcher-kva.example/perspectives/p"),
        ("https://[2001:db8::1]/perspectives/p", "https://[2001:0DB8:0:0::1]:443/perspectives/p"),
        ("https://[::ffff:198.51.100.7]/perspectives/p", "https://198.51.100.7/perspectives/p"),
    ],
)
def test_two_entries_do_not_name_one_perspective(tmp_path: Path, one: str, other: str) -> None:
    (found,) = remotes(document(tmp_path), {"url": one}, {"url": other})
    assert found.startswith("remote_perspectives.1.url: ")
    assert "remote_perspectives.1 (their-1) and remote_perspectives.0 (their-0) name the same perspective" in found


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f000001", "2130706433", "a..b", "[::1", "[fe80::1%eth0]", "a:99999", "%61"]
)
def test_a_host_that_can_be_read_in_two_ways_is_refused(tmp_path: Path, host: str) -> None:
    (found,) = remotes(document(tmp_path), {"url": f"https://{host}/perspectives/p"})
    assert found.startswith("remote_perspectives.0.url: ")


@pytest.mark.parametrize(
    ("address", "host"),
    [("192.0.2.20", "192.0.2.20"), ("0.0.0.0", "192.0.2.10"), ("0.0.0.0", "localhost"), ("::1", "localhost.")],
)
def test_an_entry_is_not_this_appliance(tmp_path: Path, address: str, host: str) -> None:
    written = document(tmp_path)
    files = {"certificate_file": "/c", "private_key_file": "/k", "client_ca_file": "/a"}
    written["api"]["tcp"] = [{"address": address, "port": 8443, "authentication": "mutual-tls"} | files]
    (found,) = remotes(written, {"url": f"https://{host}:8443/perspectives/p"})
    assert "is api.tcp.0, this appliance itself" in found
    assert remotes(written, {"url": f"https://{host}:8444/perspectives/p"}) == []


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("192.0.2.10", "primary (home)"),
        ("::ffff:192.0.2.10", "primary (home)"),
        ("198.51.100.2", "perspectives.1 (nyc)"),
        ("203.0.113.2", "remote_perspectives.1 (their-1)"),
    ],
)
def test_an_egress_address_is_nobody_elses(tmp_path: Path, address: str, owner: str) -> None:
    first = {"egress_addresses": ["203.0.113.2"]} if owner.endswith("their-1)") else {"egress_addresses": [address]}
    found = remotes(document(tmp_path), first, {})
    assert len(found) == 1
    assert "egress_addresses" in found[0]
    assert "is used twice: " in found[0]
    assert owner in found[0] or "remote_perspectives.0 (their-0)" in found[0]


def test_no_perspective_goes_out_by_the_primarys_address(tmp_path: Path) -> None:
    written = document(tmp_path)
    written["perspectives"][0]["egress_addresses"] = ["192.0.2.10"]
    assert problems(Settings.model_validate(written)) == [
        "perspectives.0.egress_addresses: 192.0.2.10 is the primary's"
    ]


def test_an_anchor_s_authorities_need_https_and_are_the_same_for_the_same_url(tmp_path: Path) -> None:
    written = document(tmp_path)
    ours, theirs = {"ca_file": "/etc/mpic/ours.pem"}, {"ca_file": "/etc/mpic/theirs.pem"}
    written["anchors"] = [{"url": "https://a.example/"} | ours, {"url": "http://b.example/"}]
    assert problems(Settings.model_validate(written)) == []
    written["anchors"] = [{"url": "http://a.example/"} | ours]
    (found,) = problems(Settings.model_validate(written))
    assert found.startswith("anchors.0.ca_file: only with an https:// url")
    written["anchors"] = [{"url": "https://a.example/"} | ours, {"url": "https://a.example/"} | theirs]
    (found,) = problems(Settings.model_validate(written))
    assert found.startswith("anchors.1.ca_file: differs")
