"""CNAME chains on the way to a validation record: how long, and where they may end."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class DelegationRules(msgspec.Struct, frozen=True):
    """`max_chain`: CNAMEs followed at most. `ca_zones`: zones that the CA runs, lower-case, without the final dot."""

    max_chain: int = 8
    ca_zones: tuple[str, ...] = ()


def too_long(chain: Sequence[str], rules: DelegationRules) -> str | None:
    """Why this chain (the CNAMEs' targets, in order) is not followed, or None."""
    if len(chain) > rules.max_chain:
        return f"a chain of {len(chain)} CNAMEs, where at most {rules.max_chain} are followed"
    return None


def wrong_target(chain: Sequence[str], rules: DelegationRules, expected: str | None) -> str | None:
    """Why the end of this chain is not the applicant's own, or None.

    A chain that ends in a zone of the CA's must end at `expected`, the name that the CA gave to this applicant alone
    (BR 3.2.2.4.7); without one it shows nobody's control.
    """
    if not chain:
        return None
    end = _folded(chain[-1])
    if not any(end == zone or end.endswith("." + zone) for zone in map(_folded, rules.ca_zones)):
        return None
    if expected is None:
        return f"the chain ends at {end}, in a zone of the CA's, but the request names no target there"
    return None if end == _folded(expected) else f"the chain ends at {end}, not at the applicant's own target"


def _folded(name: str) -> str:
    return name.lower().removesuffix(".")
