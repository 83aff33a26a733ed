"""Networks that no check may contact: data, one row each.

Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, as updated to 2025-10), every block whose
"Globally Reachable" is not True; multicast (RFC 5771, RFC 4291); and what IANA calls reachable but leads elsewhere than
it says: NAT64, 6to4, Teredo, IPv4-mapped and IPv4-compatible addresses. IPv6 outside 2000::/3 is not global unicast
(RFC 4291 section 2.4). 192.0.0.0/24 and 2001::/23 are refused whole: their few anycast exceptions are no applicant's.
"""

from __future__ import annotations

from typing import Final

# Network and what it is. A more specific row above a wider one gives the better reason.
SPECIAL_PURPOSE: Final = (
    ("0.0.0.0/8", '"this network" (RFC 791)'),
    ("10.0.0.0/8", "private use (RFC 1918)"),
    ("100.64.0.0/10", "shared address space (RFC 6598)"),
    ("127.0.0.0/8", "loopback (RFC 1122)"),
    ("169.254.0.0/16", "link local (RFC 3927)"),
    ("172.16.0.0/12", "private use (RFC 1918)"),
    ("192.0.0.0/24", "IETF protocol assignments (RFC 6890)"),
    ("192.0.2.0/24", "documentation (RFC 5737)"),
    ("192.168.0.0/16", "private use (RFC 1918)"),
    ("198.18.0.0/15", "benchmarking (RFC 2544)"),
    ("198.51.100.0/24", "documentation (RFC 5737)"),
    ("203.0.113.0/24", "documentation (RFC 5737)"),
    ("224.0.0.0/4", "multicast (RFC 5771)"),
    ("240.0.0.0/4", "reserved (RFC 1112), limited broadcast (RFC 919)"),
    ("100:0:0:1::/64", "dummy prefix (RFC 9780)"),
    ("100::/64", "discard only (RFC 6666)"),
    ("2001:db8::/32", "documentation (RFC 3849)"),
    ("3fff::/20", "documentation (RFC 9637)"),
    ("5f00::/16", "SRv6 segment identifiers (RFC 9602)"),
    ("fc00::/7", "unique local (RFC 4193)"),
    ("fe80::/10", "link local (RFC 4291)"),
    ("fec0::/10", "site local (RFC 3879)"),
    ("ff00::/8", "multicast (RFC 4291)"),
)

# As above, but no configured exception opens them: each carries an IPv4 address, or leads to a relay, that nobody checked.
NEVER_EXCEPTED: Final = (
    ("192.88.99.0/24", "6to4 relay anycast (RFC 7526)"),
    ("::1/128", "loopback (RFC 4291)"),
    ("::ffff:0:0/96", "IPv4-mapped (RFC 4291)"),
    ("::/96", "unspecified, IPv4-compatible (RFC 4291)"),
    ("64:ff9b::/96", "NAT64 (RFC 6052)"),
    ("64:ff9b:1::/48", "local-use NAT64 (RFC 8215)"),
    ("2001::/32", "Teredo (RFC 4380)"),
    ("2001::/23", "IETF protocol assignments (RFC 2928)"),
    ("2002::/16", "6to4 (RFC 3056)"),
)

# Whatever the rows above leave of these.
NOT_GLOBAL_UNICAST: Final = (
    ("::/3", "not global unicast (RFC 4291)"),
    ("4000::/2", "not global unicast (RFC 4291)"),
    ("8000::/1", "not global unicast (RFC 4291)"),
)
