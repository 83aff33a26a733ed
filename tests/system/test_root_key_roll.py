"""A roll of the root's key (RFC 5011), rehearsed: nobody touches the appliance, and no look-up fails."""

from __future__ import annotations

from collections.abc import Iterator

import dns.dnssec
import pytest

from appliance.perspective.resolver import resolver_paths
from tests.lab.wait import wait_until
from tests.system.perspective_site import CODE, LIMIT_S, RootKey, Site, root_key, signed_root, site, trust_anchor

pytestmark = pytest.mark.system

# As short as the resolver lets them be; in service they are RFC 5011's 30 days.
SHORT = """
server:
    add-holddown: 2
    del-holddown: 2
    permit-small-holddown: yes
"""


@pytest.fixture
def made() -> Iterator[Site]:
    with site() as made:
        yield made


class Root:
    """The root's operator: publishes sets of keys, each valid for a second in caches."""

    def __init__(self, made: Site) -> None:
        self._made = made
        self._serial = 10
        self._names = 0

    def publish(self, *keys: RootKey) -> None:
        self._serial += 1
        self._made.put_root(signed_root(keys, serial=self._serial, key_ttl_s=1))
        wait_until(lambda: str(self._serial) in self._served(), LIMIT_S, "the name server has the new zone")

    def is_trusted(self) -> bool:
        """Whether a name that was never asked is answered as authenticated."""
        self._names += 1
        answer = self._made.dig(f"never-asked-{self._names}.test", "+adflag")
        return "status: NXDOMAIN" in answer and " ad;" in answer

    def _served(self) -> str:
        self._names += 1
        return self._made.dig(f"serial-{self._names}.test", "+cd")


def state_of(made: Site, key: RootKey) -> str:
    """What the resolver thinks of a key: its RFC 5011 state, "" where it does not know it."""
    tag = f"id = {dns.dnssec.key_id(key[1])} "
    path = resolver_paths(made.settings, CODE).trust_anchor
    lines = [line for line in path.read_text().splitlines() if tag in line]
    return lines[0].partition("[")[2].partition("]")[0].strip() if lines else ""


def test_the_resolver_follows_a_roll_and_keeps_it_over_a_restart(made: Site) -> None:
    root, old, new = Root(made), root_key(), root_key()
    revoked = root_key(old[0], revoked=True)
    made.settings.resolver.trust_anchor_file.write_text(trust_anchor(old))
    made.put_root(signed_root([old], serial=10, key_ttl_s=1))
    resolver = made.start_resolver(SHORT)
    wait_until(root.is_trusted, LIMIT_S, "the old key is trusted")
    root.publish(old, new)
    wait_until(lambda: state_of(made, new) == "ADDPEND", LIMIT_S, "the new key is seen, and not trusted yet")
    assert root.is_trusted()
    wait_until(lambda: state_of(made, new) == "VALID", LIMIT_S, "the new key is trusted")
    root.publish(revoked, new)
    wait_until(lambda: state_of(made, revoked) == "REVOKED", LIMIT_S, "the old key is given up")
    assert root.is_trusted()
    root.publish(new)
    assert root.is_trusted()
    resolver.terminate()
    resolver.wait(LIMIT_S)
    resolver = made.start_resolver(SHORT)
    assert root.is_trusted(), "what it learnt outlives it, though the configured anchor is still the old one"
    # The control: a resolver that missed the roll trusts nothing.
    resolver.terminate()
    resolver.wait(LIMIT_S)
    paths = resolver_paths(made.settings, CODE)
    paths.trust_anchor.unlink()
    paths.trust_anchor_seed.unlink()
    made.start_resolver(SHORT)
    assert "status: SERVFAIL" in made.dig("www.test")
