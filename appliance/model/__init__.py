"""The words of the domain, as frozen values. Terms are those of the BRs (1.6.1), RFC 8659, RFC 8555 and RFC 4033.

Two rules hold for everything here, since observations and decisions are hashed as evidence in the canonical form of
RFC 8785: **no floating-point numbers** (times are whole microseconds, coordinates whole microdegrees, distances whole
metres), and no integer of 2**53 or more.
"""
