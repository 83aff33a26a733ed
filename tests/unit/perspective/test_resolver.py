"""The rendered unbound.conf: what the issue of short caches and refused addresses demands of it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from pydantic import ValidationError

from appliance.config.schema import IANA_ROOT_ANCHORS, Settings
from appliance.errors import ConfigError
from appliance.perspective.assignment import assignment_of
from appliance.perspective.resolver import render_resolver, resolver_command
from tests.unit.perspective.configured import settings


def _options(of: Settings, code: str = "ams") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in render_resolver(of, assignment_of(of, code)).splitlines():
        name, colon, value = line.strip().partition(":")
        if colon and not name.startswith("#"):
            found.setdefault(name, []).append(value.strip())
    return found


def test_nothing_is_remembered_for_long_or_fetched_before_it_is_asked() -> None:
    options = _options(settings(resolver={"cache_max_ttl_s": 30}))
    assert options["cache-max-ttl"] == options["cache-max-negative-ttl"] == ["30"]
    for name in ("serve-expired", "prefetch", "prefetch-key", "aggressive-nsec", "log-queries", "log-replies"):
        assert options[name] == ["no"], name
    assert options["verbosity"] == options["val-log-level"] == ["0"]


def test_special_purpose_addresses_are_not_queried_but_for_the_exceptions() -> None:
    def refused(of: Settings, address: str) -> bool:
        networks = map(ip_network, _options(of)["do-not-query-address"])
        return any(
            network.version == ip_address(address).version and ip_address(address) in network for network in networks
        )

    plain = settings()
    for address in (
        "10.1.2.3",
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "198.18.0.1",
        "::1",
        "fd00::1",
        "64:ff9b::1",
    ):
        assert refused(plain, address), address
    for address in ("192.0.33.8", "8.8.8.8", "2620:fe::9"):
        assert not refused(plain, address), address
    excepted = settings(targets={"special_purpose_exceptions": ["198.18.0.0/15", "2001:db8::/32"]})
    assert not refused(excepted, "198.18.0.1")
    assert not refused(excepted, "2001:db8::1")
    assert refused(excepted, "10.1.2.3")


def test_only_a_laboratory_looks_up_the_names_for_tests() -> None:
    assert "local-zone" not in _options(settings())
    excepted = settings(targets={"special_use_exceptions": ["example", "test"]})
    assert _options(excepted)["local-zone"] == ['"test." nodefault']
    for name in ("internal", "in-addr.arpa", "onion", "test.", "TEST"):
        with pytest.raises(ValidationError):
            settings(targets={"special_use_exceptions": [name]})


def test_families_follow_the_perspective() -> None:
    both = settings()
    assert _options(both)["do-ip6"] == ["yes"]
    one = both.perspectives[0].model_dump() | {"egress_addresses": ["198.18.5.5"]}
    assert _options(settings(perspectives=[one]))["do-ip6"] == ["no"]
    six = both.perspectives[0].model_dump() | {"egress_addresses": ["2001:db8:5::5"]}
    assert "0.0.0.0/0" in _options(settings(perspectives=[six]))["do-not-query-address"]


def test_each_has_its_own_state_and_control() -> None:
    of = settings()
    ams, home = _options(of), _options(of, "home")
    assert ams["auto-trust-anchor-file"] == ['"/var/lib/mpic/resolvers/ams/root.key"']
    assert home["auto-trust-anchor-file"] == ['"/var/lib/mpic/resolvers/home/root.key"']
    assert ams["control-interface"] == ['"/run/mpic/resolvers/ams/control.sock"']
    assert resolver_command(of, "ams")[-1] == "/run/mpic/resolvers/ams/unbound.conf"


def test_both_root_keys_of_the_present_roll_are_shipped() -> None:
    records = [line.split() for line in IANA_ROOT_ANCHORS.read_text().splitlines() if line and not line.startswith(";")]
    assert [(r[0], r[2:7]) for r in records] == [(".", ["IN", "DS", tag, "8", "2"]) for tag in ("20326", "38696")]
    assert all(len(r[7]) == 64 for r in records)
    assert settings().resolver.trust_anchor_file == IANA_ROOT_ANCHORS


def test_only_configured_perspectives_have_a_worker() -> None:
    with pytest.raises(ConfigError, match="not configured; there are home, ams"):
        assignment_of(settings(), "nyc")
    stated = settings(primary=settings().primary.model_dump() | {"kind": "caller"})
    with pytest.raises(ConfigError, match="has no worker"):
        assignment_of(stated, "home")


def test_the_primary_is_assigned_as_a_remote_is() -> None:
    primary = assignment_of(settings(), "home")
    assert primary.interface == "primary0"
    assert primary.egress_addresses == {"198.18.1.5", "2001:db8:1::5"}
    assert primary.probe_mtu is None
    assert not primary.far_must_answer
    remote = assignment_of(settings(), "ams")
    assert remote.versions == {4, 6}
    assert remote.probe_mtu == 1280
    assert remote.far_must_answer
