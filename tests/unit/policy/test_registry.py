"""The registries' statistics: whose an address is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.model.place import Rir
from appliance.policy.registry import registries_of

LINES = """\
2|nro|20261121|574523|19821101|20261121|+0000
nro|*|ipv4|*|212345|summary
arin|US|ipv4|192.0.2.0|128|20100101|allocated|abc|e-stats
ripencc|NL|ipv4|192.0.2.128|64|20100101|assigned|abc|e-stats
apnic|AU|ipv4|192.0.2.192|64||available||e-stats
iana|ZZ|ipv4|198.51.100.0|256||reserved|iana|iana
afrinic|ZA|ipv6|2001:db8::|33|20100101|allocated|abc|e-stats
lacnic|BR|ipv6|2001:db8:8000::|33|20100101|allocated|abc|e-stats
ripencc|NL|asn|64496|1|20100101|allocated|abc|e-stats
ripencc|NL|ipv4|no address|256|20100101|allocated|abc
ripencc|NL|ipv6|2001:db8::|300|20100101|allocated|abc
"""


def test_whose_each_address_is() -> None:
    asked = ["192.0.2.127", "192.0.2.128", "192.0.2.192", "198.51.100.1", "2001:db8:7fff::1", "2001:db8:8000::1"]
    assert registries_of(asked, LINES.splitlines()) == {
        "192.0.2.127": Rir.ARIN,
        "192.0.2.128": Rir.RIPE_NCC,
        "2001:db8:7fff::1": Rir.AFRINIC,
        "2001:db8:8000::1": Rir.LACNIC,
    }


@given(st.lists(st.text(alphabet="arinpcv46|:.0129*-", max_size=60)))
def test_whatever_the_lines_are(lines: list[str]) -> None:
    registries_of(["192.0.2.1", "2001:db8::1"], lines)
