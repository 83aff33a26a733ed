"""Domain names that no certificate authority can validate: data, one row each, in lower case without the final dot.

Sources: the IANA Special-Use Domain Names registry (RFC 6761), as updated to 2025-10, its deprecated entry included;
`internal`, which ICANN reserved for private use (board resolution of 2024-07-29); and the trees of reverse names (RFC 1035
section 3.5, RFC 3596 section 2.5), which no certificate's name may lie in from 2026-03-15 (BR 4.2.2). The registry's own entries
below `in-addr.arpa` and `ip6.arpa` lie in these.
"""

from __future__ import annotations

from typing import Final

# For documentation and for tests (RFC 6761 sections 6.2 and 6.5): emulated Internets have them, and so configuration may list
# them as exceptions.
FOR_TESTS: Final = (
    ("example", "RFC 6761"),
    ("example.com", "RFC 6761"),
    ("example.net", "RFC 6761"),
    ("example.org", "RFC 6761"),
    ("test", "RFC 6761"),
)
NEVER_EXCEPTED: Final = (
    ("6tisch.arpa", "RFC 9031"),
    ("alt", "RFC 9476"),
    ("eap-noob.arpa", "RFC 9140"),
    ("eap.arpa", "RFC 9965"),
    ("home.arpa", "RFC 8375"),
    ("in-addr.arpa", "BR 4.2.2"),
    ("internal", "ICANN, private use"),
    ("invalid", "RFC 6761"),
    ("ip6.arpa", "BR 4.2.2"),
    ("ipv4only.arpa", "RFC 8880"),
    ("local", "RFC 6762"),
    ("localhost", "RFC 6761"),
    ("onion", "RFC 7686"),
    ("resolver.arpa", "RFC 9462"),
    ("service.arpa", "RFC 9665"),
)
