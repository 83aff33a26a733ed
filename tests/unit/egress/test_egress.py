"""The egress node's pure parts."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

import pytest

from appliance.net.special_purpose import special_purpose_networks
from egress import config, firewall, rules, wireguard
from egress.config import EgressConfig, IpNetwork
from egress.errors import ConfigError
from egress.special_purpose import refused_ipv4, refused_ipv6

KEYS = [f"{'A' * 42}{last}=" for last in "AEIM"]


def document(**more: object) -> dict[str, object]:
    peers = [{"name": "one", "public_key": KEYS[0], "addresses": ["10.77.0.2", "fd77::2"]}]
    interface = {
        "name": "wg0",
        "listen_port": 51820,
        "private_key_file": "/k",
        "addresses": ["10.77.0.1", "fd77::1"],
        "peers": peers,
    }
    return {"uplink": {"interface": "eth0"}, "interfaces": [interface], **more}


def parsed(**more: object) -> EgressConfig:
    return EgressConfig.model_validate(document(**more))


@pytest.mark.parametrize("exceptions", [[], ["198.18.0.0/15", "2001:db8::/32"], ["10.1.0.0/16", "fd12::/16"]])
def test_both_sides_refuse_the_same_networks(exceptions: list[str]) -> None:
    networks: list[IpNetwork] = [ip_network(text) for text in exceptions]
    ours = {*refused_ipv4(networks), *refused_ipv6(networks)}
    assert ours == set(special_purpose_networks(networks))


def test_without_an_address_of_its_own_it_masquerades() -> None:
    assert rules.render(parsed()).count("masquerade fully-random") == 2
    text = rules.render(parsed(uplink={"interface": "eth0", "egress_addresses": ["198.18.0.1"]}))
    assert "ip saddr @peers snat ip to 198.18.0.1 fully-random" in text
    assert "ip6 saddr @peers6 masquerade fully-random" in text


def test_nobody_reaches_ssh_unless_named() -> None:
    assert "set operators { type ipv4_addr; flags interval; }" in rules.render(parsed())
    assert "elements = { 198.51.100.0/24 }" in rules.render(parsed(ssh={"sources": ["198.51.100.0/24"]}))


FILE = """
[uplink]
interface = "eth0"
egress_addresses = ["198.18.0.1"]
[[interfaces]]
name = "wg0"
listen_port = 51820
private_key_file = "DIR/one.key"
addresses = ["10.77.0.1", "fd77::1"]
[[interfaces.peers]]
name = "one"
public_key = "KEY-ONE"
addresses = ["10.77.0.2", "fd77::2"]
[[interfaces]]
name = "wg1"
listen_port = 51821
private_key_file = "DIR/two.key"
addresses = ["10.78.0.1"]
[[interfaces.peers]]
name = "two"
public_key = "KEY-TWO"
preshared_key_file = "DIR/psk"
addresses = ["10.78.0.2"]
"""


def written(directory: Path, before: str = "", after: str = "") -> Path:
    for name in ("one.key", "two.key", "psk"):
        (directory / name).touch(mode=0o600)
    assert before in FILE
    text = FILE.replace(before, after) if before else FILE
    path = directory / "egress.toml"
    path.write_text(text.replace("DIR", str(directory)).replace("KEY-ONE", KEYS[0]).replace("KEY-TWO", KEYS[1]))
    return path


def test_a_right_file_is_taken(tmp_path: Path) -> None:
    assert [interface.name for interface in config.load(written(tmp_path)).interfaces] == ["wg0", "wg1"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("51821", "51820", "interfaces.1.listen_port: 51820 is already at interfaces.0.listen_port"),
        ("DIR/two.key", "DIR/one.key", "interfaces.1.private_key_file"),
        ("[uplink]", "[echo]\nport = 51821\n[uplink]", "echo.port: 51821 is that of interfaces.1"),
        ("KEY-TWO", "KEY-ONE", "interfaces.1.peers.0.public_key"),
        ('"10.78.0.2"', '"10.77.0.2"', "interfaces.1.peers.0.addresses.0"),
        ('"10.78.0.2"', '"fd78::2"', "interfaces.1.peers.0.addresses: of a family"),
        ('["198.18.0.1"]', '["198.18.0.1", "198.18.0.2"]', "uplink.egress_addresses: at most one"),
        ('"wg1"', '"eth0"', "uplink.interface: eth0 is a tunnel's"),
        ("DIR/psk", "DIR/nowhere", "interfaces.1.peers.0.preshared_key_file"),
        ('"wg1"', '"abcdefghijklmnop"', "interfaces.1.name"),
        ("KEY-TWO", "short", "interfaces.1.peers.0.public_key"),
        ("listen_port = 51821", "listen_prot = 51821", "interfaces.1.listen_prot"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path: Path, before: str, after: str, words: str) -> None:
    path = written(tmp_path, before, after)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert any(problem.startswith(f"{path}: {words}") for problem in caught.value.problems), caught.value.problems


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "two.key").chmod(0o640)
    with pytest.raises(ConfigError, match=r"interfaces\.1\.private_key_file: .*must have mode 0600, has 0640"):
        config.load(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "none.toml")


def test_listings_are_compared_without_what_traffic_changes() -> None:
    def listing(handle: int, packets: int, elements: list[object]) -> str:
        connections = {
            "family": "inet",
            "name": "connections",
            "table": "mpic_egress",
            "handle": handle,
            "elem": elements,
        }
        counter = {"family": "inet", "name": "refused_mail", "handle": handle, "packets": packets, "bytes": 9}
        return json.dumps({"nftables": [{"metainfo": {}}, {"set": connections}, {"counter": counter}]})

    assert firewall.normalised(listing(1, 0, [])) == firewall.normalised(listing(7, 12, ["10.77.0.2"]))
    other = listing(1, 0, []).replace("refused_mail", "refused_more")
    assert firewall.normalised(listing(1, 0, [])) != firewall.normalised(other)


def test_interfaces_are_compared_without_what_traffic_changes() -> None:
    dump = f"{KEYS[0]}\t{KEYS[1]}\t51820\toff\n{KEYS[2]}\t(none)\t(none)\t10.77.0.2/32\t0\t0\t0\toff\n"
    later = dump.replace("(none)\t10", "198.18.0.1:9\t10").replace("\t0\t0\t0\t", "\t1700000000\t5\t6\t")
    assert wireguard.same(wireguard.parse_dump(dump), wireguard.parse_dump(later))
    other = wireguard.parse_dump(dump.replace("10.77.0.2/32", "0.0.0.0/0"))
    assert not wireguard.same(wireguard.parse_dump(dump), other)


def test_the_refused_networks_do_not_overlap() -> None:
    four: list[IPv4Network] = refused_ipv4()
    six: list[IPv6Network] = refused_ipv6()
    assert not any(a.overlaps(b) for i, a in enumerate(four) for b in four[i + 1 :])
    assert not any(a.overlaps(b) for i, a in enumerate(six) for b in six[i + 1 :])


def test_the_echo_server_is_reached_from_the_uplink_alone_and_only_so_often(tmp_path: Path) -> None:
    plain, echoing = (
        rules.render(config.load(written(tmp_path, "[uplink]", before + "[uplink]")))
        for before in ("", "[echo]\nport = 51830\nrequests_per_second = 50\n")
    )
    (added,) = set(echoing.splitlines()) - set(plain.splitlines())
    assert added.split() == [
        "iifname", '"eth0"', "udp", "dport", "51830", "limit", "rate", "50/second", "burst", "50", "packets", "accept",
    ]  # fmt: skip
