"""The emulated Internet does what its data says: seen by requests, answers and packets, from every perspective."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from tests.lab import Lab, LabBusyError, names, topology, wait_until, web
from tests.lab.model import Address, Hijack
from tests.lab.pcap import Packet
from tests.lab.zones import BENCH_VALUE

pytestmark = pytest.mark.system

PERSPECTIVES = topology.perspective_namespaces()
SOURCES = {egress.code: egress.address for egress in topology.EGRESSES} | {
    topology.PRIMARY.code: topology.PRIMARY.host_address
}
RESOLVER = """\
server:
    directory: "{directory}"
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    interface: 127.0.0.1
    trust-anchor-file: "{anchor}"
    root-hints: "{hints}"
    cache-max-ttl: 0
    cache-max-negative-ttl: 0
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as up:
        yield up


@pytest.fixture(autouse=True)
def no_hijack_left(lab: Lab) -> Iterator[None]:
    yield
    lab.withdraw()


def get(lab: Lab, namespace: str, address: IPv4Address | IPv6Address, url: str) -> str:
    target = f"[{address}]" if address.version == 6 else str(address)
    argv = [
        "curl",
        "-sk",
        "--noproxy",
        "*",
        "--max-time",
        "5",
        "--connect-to",
        f"::{target}",
        url,
    ]
    return lab.run(namespace, argv).stdout


def dig(lab: Lab, namespace: str, server: object, name: str, rdtype: str) -> list[str]:
    argv = ["dig", "+short", "+time=2", "+tries=2", f"@{server}", name, rdtype]
    return lab.run(namespace, argv, check=True).stdout.splitlines()


def who_serves(lab: Lab, address: Address, host: str, path: str) -> dict[str, set[str]]:
    return {
        code: {get(lab, namespace, one, f"http://{host}{path}") for one in address}
        for code, namespace in PERSPECTIVES.items()
    }


def two_requests(lab: Lab, host: str) -> list[web.Request]:
    wait_until(lambda: len(lab.requests_seen(host)) == 2, 5, f"two requests for {host}")
    return lab.requests_seen(host)


def test_every_perspective_reaches_every_applicant_from_its_own_address(lab: Lab) -> None:
    for server in ("quay", "sakura"):
        for code, namespace in PERSPECTIVES.items():
            for address, source in zip(topology.WEB_ADDRESSES[server], SOURCES[code], strict=True):
                host = f"from-{code}-{address.version}.{server}.lab"
                for scheme in ("http", "https"):
                    get(lab, namespace, address, f"{scheme}://{host}/{scheme}")
                seen = two_requests(lab, host)
                assert {(one.server, one.source, one.scheme) for one in seen} == {
                    (server, str(source), "http"),
                    (server, str(source), "https"),
                }
                assert [one.server_name for one in seen if one.scheme == "https"] == [host]


def test_anchors_tell_the_source_address(lab: Lab) -> None:
    for anchor in topology.ANCHORS:
        for code, namespace in PERSPECTIVES.items():
            for address, source in zip(anchor.address, SOURCES[code], strict=True):
                assert get(lab, namespace, address, f"http://{anchor.host}/").strip() == str(source)
    target = f"::{topology.ANCHORS[0].address.v4}"
    argv = ["curl", "-s", "--cacert", str(web.anchor_ca_file()), "--connect-to", target, "https://fra.anchor.lab/"]
    assert lab.run("jnb-lab", argv, check=True).stdout.strip() == str(SOURCES["jnb"].v4)


@pytest.mark.parametrize("name", ["equal-prefix", "sub-prefix"])
def test_a_web_hijack_diverts_whom_the_topology_says_until_withdrawn(lab: Lab, name: str) -> None:
    hijack = topology.HIJACKS[name]
    path = f"/.well-known/acme-challenge/{name}"
    lab.set_token("honest.example", name, "victim", server="quay")
    lab.set_token("honest.example", name, "attacker", server="mallory")
    everyone_honest = {code: {"victim"} for code in PERSPECTIVES}

    assert who_serves(lab, hijack.address, "honest.example", path) == everyone_honest
    lab.hijack(name)
    during = who_serves(lab, hijack.address, "honest.example", path)
    lab.withdraw()

    assert during == everyone_honest | {code: {"attacker"} for code in hijack.captures}
    assert who_serves(lab, hijack.address, "honest.example", path) == everyone_honest
    _assert_refused_by_quorum(hijack)
    sources = {str(one) for code in hijack.captures for one in SOURCES[code]}
    wait_until(
        lambda: {one.source for one in lab.requests_seen("honest.example", "mallory") if one.path == path} == sources,
        5,
        "the captured at the attacker",
    )


@pytest.mark.parametrize(
    ("name", "owner"), [("dns-prefix", "_who.plain.example"), ("dns-prefix-signed", "_who.honest.example")]
)
def test_a_dns_hijack_diverts_whom_the_topology_says_until_withdrawn(lab: Lab, name: str, owner: str) -> None:
    hijack = topology.HIJACKS[name]
    lab.set_txt(owner, ["victim"], server=hijack.victim)
    lab.set_txt(owner, ["attacker"], server="mallory")

    def answers() -> dict[str, set[str]]:
        return {
            code: {one for address in hijack.address for one in dig(lab, namespace, address, owner, "TXT")}
            for code, namespace in PERSPECTIVES.items()
        }

    everyone_honest = {code: {'"victim"'} for code in PERSPECTIVES}
    assert answers() == everyone_honest
    lab.hijack(name)
    assert answers() == everyone_honest | {code: {'"attacker"'} for code in hijack.captures}
    lab.withdraw()
    assert answers() == everyone_honest
    _assert_refused_by_quorum(hijack)


def _assert_refused_by_quorum(hijack: Hijack) -> None:
    captured = hijack.captures - {topology.PRIMARY.code}
    assert topology.PRIMARY.code in hijack.captures
    assert captured
    assert len(topology.EGRESSES) - len(captured) > 2, "the attacker would have his quorum"


def test_one_perspective_alone_can_be_captured(lab: Lab) -> None:
    for lan in topology.LANS:
        in_force = lab.hijack("equal-prefix", via=[lan.router])
        hijack = topology.HIJACKS["equal-prefix"]
        reached = {code: set(ends) for code, ends in lab.who_answers(hijack.address).items()}
        captured = {code for code, ends in reached.items() if ends == {"mallory-lab"}}
        assert captured == in_force.captures
        assert [PERSPECTIVES[code] for code in captured] == [lan.namespace]


def test_a_switch_from_one_hijack_to_another_leaves_only_the_second(lab: Lab) -> None:
    lab.hijack("equal-prefix")
    lab.hijack("dns-prefix")
    honest = dict.fromkeys(PERSPECTIVES, ("quay-lab", "quay-lab"))
    assert lab.who_answers(topology.HIJACKS["equal-prefix"].address) == honest
    in_force = lab.in_force()
    assert in_force is not None
    assert in_force.name == "dns-prefix"


@pytest.fixture
def resolver(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """A validating resolver in ams, which the hijack of the signed zone's servers captures."""
    configuration = tmp_path / "unbound.conf"
    configuration.write_text(
        RESOLVER.format(directory=tmp_path, anchor=names.trust_anchor_file(), hints=names.root_hints_file())
    )
    with (tmp_path / "log").open("wb") as log:
        process = lab.popen("ams-lab", ["unbound", "-d", "-c", str(configuration)], stderr=log)
    try:
        wait_until(lambda: status_of(lab, ".", "NS")[0] == "NOERROR", 10, "resolver")
        yield "ams-lab"
    finally:
        process.terminate()
        process.wait(10)


def status_of(lab: Lab, name: str, rdtype: str) -> tuple[str, bool]:
    argv = ["dig", "+dnssec", "+time=3", "+tries=1", "@127.0.0.1", name, rdtype]
    answer = lab.run("ams-lab", argv).stdout
    header = next((line for line in answer.splitlines() if "status:" in line), "status: NONE,")
    flags = next((line for line in answer.splitlines() if line.startswith(";; flags:")), "")
    return header.partition("status: ")[2].partition(",")[0], " ad" in flags.partition(";; flags:")[2].partition(";")[0]


@pytest.mark.usefixtures("resolver")
def test_the_dnssec_tree_validates_from_the_exported_anchor(lab: Lab) -> None:
    assert status_of(lab, "honest.example", "A") == ("NOERROR", True)
    assert status_of(lab, "honest.example", "CAA") == ("NOERROR", True)
    assert status_of(lab, "missing.honest.example", "A") == ("NXDOMAIN", True)
    assert status_of(lab, "plain.example", "CAA") == ("NOERROR", False)
    assert status_of(lab, "any-name.bench.lab", "TXT") == ("NOERROR", False)
    assert status_of(lab, "missing-tld", "A") == ("NXDOMAIN", True)
    lab.set_txt("_acme-challenge.honest.example", ["signed anew"])
    # For the second that NSEC records live, the resolver may deny from them what was not there before.
    wait_until(lambda: status_of(lab, "_acme-challenge.honest.example", "TXT") == ("NOERROR", True), 10, "the TXT")
    lab.hijack("dns-prefix-signed")
    assert status_of(lab, "honest.example", "CAA")[0] == "SERVFAIL"
    lab.withdraw()
    wait_until(lambda: status_of(lab, "honest.example", "CAA") == ("NOERROR", True), 20, "recovery of the resolver")


def test_txt_challenges_come_and_go(lab: Lab) -> None:
    address = topology.DNS_ADDRESSES["quay"].v6
    long_value = "0123456789" * 30
    lab.set_txt("_acme-challenge.free.example", ["first", long_value, 'quote " and \\'])
    assert set(dig(lab, "sin-lab", address, "_acme-challenge.free.example", "TXT")) == {
        '"first"',
        f'"{long_value[:255]}" "{long_value[255:]}"',
        '"quote \\" and \\\\"',
    }
    lab.set_txt("_acme-challenge.free.example", ["second"])
    assert dig(lab, "sin-lab", address, "_acme-challenge.free.example", "TXT") == ['"second"']
    lab.clear_txt("_acme-challenge.free.example")
    assert dig(lab, "sin-lab", address, "_acme-challenge.free.example", "TXT") == []
    with pytest.raises(names.UnknownZoneError):
        lab.set_txt("nowhere.other", ["x"])


def test_bench_names_are_served_whatever_they_are_called(lab: Lab) -> None:
    address = topology.DNS_ADDRESSES["quay"].v4
    assert dig(lab, "nyc-lab", address, "n1.bench.lab", "CAA") == [f'0 issue "{topology.CA_DOMAIN}"']
    assert dig(lab, "nyc-lab", address, "n2.bench-free.lab", "CAA") == []
    assert dig(lab, "nyc-lab", address, "_acme-challenge.n3.bench-free.lab", "TXT") == [f'"{BENCH_VALUE}"']
    web_address = topology.WEB_ADDRESSES["quay"].v6
    body = get(lab, "nyc-lab", web_address, "http://n4.bench.lab/.well-known/acme-challenge/any-token")
    assert body == web.BENCH_KEY_AUTHORIZATION


def test_a_capture_holds_exactly_what_crossed(lab: Lab) -> None:
    server = topology.DNS_ADDRESSES["quay"].v4
    with (
        lab.capture("ca-lab", "uplink0", "udp port 53") as uplink,
        lab.capture("quay-lab", "any", "udp port 53") as target,
    ):
        for number in range(20):
            dig(lab, "ca-lab", server, f"q{number}.bench.lab", "CAA")
    assert uplink.count(_direction) == {"query": 20, "answer": 20}
    asked = [question for question in target.questions() if question.destination == str(server)]
    assert [question.name for question in asked] == [f"q{number}.bench.lab." for number in range(20)]
    assert {(question.source, question.rdtype) for question in asked} == {(str(SOURCES["zrh"].v4), "CAA")}


def _direction(packet: Packet) -> str:
    return "query" if packet.dport == 53 else "answer"


def test_a_lab_that_is_up_is_not_built_again(lab: Lab) -> None:
    with pytest.raises(LabBusyError):
        Lab().up()
    assert lab.is_up()


def test_the_primary_can_have_a_macvlan_of_its_own_on_the_site_lan(lab: Lab) -> None:
    lan = topology.PRIMARY
    lab.run("ca-lab", ["ip", "link", "add", "link", lan.interface, "name", "mv0", "type", "macvlan"], check=True)
    try:
        for command in (
            ["addr", "add", f"{lan.address.v4}/24", "dev", "mv0"],
            ["addr", "add", f"{lan.address.v6}/64", "dev", "mv0", "nodad"],
            ["link", "set", "mv0", "up"],
        ):
            lab.run("ca-lab", ["ip", *command], check=True)
        for own, echo in zip(lan.address, topology.ANCHORS[1].address, strict=True):
            target = f"http://[{echo}]/" if echo.version == 6 else f"http://{echo}/"
            argv = ["curl", "-s", "--max-time", "5", "--interface", str(own), target]
            assert lab.run("ca-lab", argv, check=True).stdout.strip() == str(own)
    finally:
        lab.run("ca-lab", ["ip", "link", "del", "mv0"], check=True)


def test_the_vrp_file_is_in_the_form_that_validators_export(lab: Lab) -> None:
    assert lab.is_up()
    document = json.loads(Path("/run/mpic-lab/vrps.json").read_text())
    found = {(entry["asn"], entry["prefix"], entry["maxLength"]) for entry in document["roas"]}
    assert {(64509, "198.18.20.0/23", 23), (64509, "2001:db8:20::/47", 47)} <= found
    assert not any(entry["asn"] == topology.SYSTEM_BY_NAME["sakura"].asn for entry in document["roas"])
