"""Which hand-off proofs a configuration can never give, or will soon give no more: warnings of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from appliance.config import AnchorConfig, Settings
from appliance.policy.proofs import ATTESTED_FOR

_NOTICE = timedelta(days=30)


def provable_versions(anchors: Iterable[AnchorConfig]) -> frozenset[int]:
    """Return the IP versions over which an https:// anchor can be asked: a name over both, an address over its own."""
    return frozenset(
        version
        for anchor in anchors
        if anchor.authenticated
        for version in _versions(urlsplit(anchor.url).hostname or "")
    )


def warnings(settings: Settings, today: date) -> Iterator[str]:
    """Yield one line for each key that keeps a hand-off proof from being valid: `key: what, and what to do`."""
    for index, anchor in enumerate(settings.anchors):
        if not anchor.authenticated:
            yield (
                f"anchors.{index}.url: {anchor.url} proves nothing, since anyone on the path can forge its answer; use https://"
            )
    for index, perspective in enumerate(settings.perspectives):
        attested_on = perspective.attested_on
        if attested_on is None:
            continue
        ends_on = attested_on + ATTESTED_FOR
        if ends_on < today:
            yield f"perspectives.{index}.attested_on: {attested_on} is more than {ATTESTED_FOR.days} days ago; attest anew"
        elif ends_on < today + _NOTICE:
            yield f"perspectives.{index}.attested_on: {attested_on} counts until {ends_on}; attest anew"


def _versions(host: str) -> tuple[int, ...]:
    try:
        return (ip_address(host).version,)
    except ValueError:
        return (4, 6)
