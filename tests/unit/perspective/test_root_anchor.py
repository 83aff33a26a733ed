"""What the answer to the question for the root's keys tells, and that no answer tells nothing."""

from __future__ import annotations

import pytest

from appliance.model.observation import DnssecStatus, Lookup
from appliance.perspective.root_anchor import verdict


@pytest.mark.parametrize(
    ("dnssec", "before", "words"),
    [
        (DnssecStatus.SECURE, "it was wrong", None),
        (DnssecStatus.BOGUS, None, "do not match"),
        (DnssecStatus.INSECURE, None, "no trust anchor"),
        (DnssecStatus.INDETERMINATE, None, None),
        (DnssecStatus.INDETERMINATE, "it was wrong", "it was wrong"),
    ],
)
def test_verdict(dnssec: DnssecStatus, before: str | None, words: str | None) -> None:
    found = verdict(Lookup(".", "DNSKEY", None, ad=False, dnssec=dnssec), before)
    assert found == words if words is None else words in (found or "")
