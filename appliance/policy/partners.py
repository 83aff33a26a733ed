"""Whether the egress addresses that others' perspectives report are the configured ones, and nobody else's. Pure.

One machine may answer under several codes. Its addresses are what gives it away, and a partner is not trusted with them: only
a report that agrees with the configuration, and with every other report, lets an entry count (BR 3.2.2.9).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

# A perspective has one address or two. A report of more than this is not read any further.
MOST_ADDRESSES = 16
# The longest text of an IPv6 address, with a zone: INET6_ADDRSTRLEN and an interface's name.
_MOST_CHARACTERS = 64
_SHOWN = 4


def parsed(texts: Iterable[str]) -> frozenset[Address]:
    """Return the addresses in `texts`; an IPv4-mapped one as the IPv4 address. Raises `ValueError` for anything else."""
    return frozenset(_address(text) for text in texts)


def wrong_report(reported: Collection[str], configured: Collection[Address]) -> str | None:
    """Return why an entry with `configured` addresses must not count with what it reports, None if it may.

    The text is fit for a log: it never repeats the bytes of a partner, only addresses in canonical form.
    """
    if not reported:
        return "it reports no egress address; its operator must configure anchors, which see the address that it uses"
    if len(reported) > MOST_ADDRESSES:
        return f"it reports {len(reported)} egress addresses, more than {MOST_ADDRESSES}; ask its operator why"
    try:
        addresses = parsed(reported)
    except ValueError:
        return "it reports an egress address that is not an IP address; ask its operator why"
    other = addresses - frozenset(configured)
    if other:
        return (
            f"it reports the egress address {_list(other)}, which is not in its egress_addresses ({_list(configured)});"
            " ask its operator, and correct the entry or remove it"
        )
    return None


def objections(
    configured: Mapping[str, Collection[Address]],
    reported: Mapping[str, Collection[str]],
    own: Mapping[Address, str],
) -> dict[str, str]:
    """Return why each entry is withheld, by code. `configured`: addresses of every entry, by code. `reported`: what those that
    answer report, by code. `own`: the addresses of this appliance's perspectives and its primary, with the code of each."""
    users: dict[Address, list[str]] = {}
    found: dict[str, str] = {}
    for code, texts in reported.items():
        reason = wrong_report(texts, configured[code])
        if reason is not None:
            found[code] = reason
        for address in _readable(texts):
            users.setdefault(address, []).append(code)
    for address, codes in users.items():
        sharers = [*codes, *([own[address]] if address in own else [])]
        if len(sharers) < 2:
            continue
        for code in codes:
            others = ", ".join(other for other in sharers if other != code)
            shared = (
                f"the egress address {address} that it reports is also that of {others}, and one machine must not count"
                " twice; ask its operator, and remove the entry that is not a perspective of its own"
            )
            found[code] = f"{found[code]}; {shared}" if code in found else shared
    return found


def _readable(texts: Collection[str]) -> set[Address]:
    """What can be read of a report, up to the bound: a report with one unreadable address still says whose the others are."""
    if len(texts) > MOST_ADDRESSES:
        return set()
    found = set()
    for text in texts:
        try:
            found.add(_address(text))
        except ValueError:
            continue
    return found


def _address(text: str) -> Address:
    if len(text) > _MOST_CHARACTERS:
        raise ValueError("longer than an address")
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError("an address with a zone")
        return address.ipv4_mapped or address
    return address


def _list(addresses: Collection[Address]) -> str:
    shown = sorted(map(str, addresses))
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
