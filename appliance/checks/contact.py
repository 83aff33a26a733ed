"""What the four contact methods share: how two contacts are the same, and where CAA properties hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from appliance.checks.climb import climb
from appliance.checks.context import CheckContext
from appliance.checks.found import Found, compare, shown_all
from appliance.net.trace import Trace
from appliance.policy.caa import read_record

# RFC 3966 section 5.1.1: visual separators do not count in a comparison.
_SEPARATORS: Final = b"-.()"


def same_email(seen: bytes, selected: bytes) -> bool:
    """Whether two addresses are the same mailbox: the local part exactly (RFC 5321 section 2.4), the domain as names are."""
    seen_local, _, seen_domain = seen.rpartition(b"@")
    local, _, domain = selected.rpartition(b"@")
    return bool(local and domain) and seen_local == local and seen_domain.lower() == domain.lower()


def same_phone(seen: bytes, selected: bytes) -> bool:
    """Whether two global numbers are the same (RFC 3966 section 4)."""
    number = selected.translate(None, _SEPARATORS)
    return number.startswith(b"+") and number[1:].isdigit() and seen.translate(None, _SEPARATORS) == number


def compare_contacts(
    values: Iterable[bytes], selected: str, same: Callable[[bytes, bytes], bool], trace: Trace, step: str
) -> Found:
    """A match where one of the values is the selected contact."""
    found = list(values)
    expected = selected.encode()
    telling = next((value for value in found if same(value, expected)), None)
    trace.seen += shown_all(found, telling)
    return compare(telling is not None, step, "the selected contact")


async def caa_property_values(name: str, tag: str, context: CheckContext, trace: Trace) -> list[bytes]:
    """The values of the property `tag` in the relevant CAA RRset of `name`; the nearest RRset decides, whatever is in it."""
    found, _ = await climb(name, context, trace)
    return [record.value for record in map(read_record, found) if record.tag == tag]
