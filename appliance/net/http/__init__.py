"""HTTP/1.1 GET from hostile hosts, as BR 3.2.2.4.18 and 3.2.2.4.19 ask: pinned addresses, bounded, redirects held to the rules."""
