"""DNS to the perspective's own validating resolver: wire form (RFC 1035) and client."""
