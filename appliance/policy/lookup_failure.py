"""Every cause by which a CAA look-up can end, who is at fault, and whether it may ever permit (BR 3.2.2.8): pure.

The same table is in packaging/docs/caa-lookup-failure.md. What is not in it refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from appliance.model.observation import Fault, ServerAsked, ServerSaid

ROUNDS: Final = (1, 2)


class Permits(StrEnum):
    """Whether a cause may be permission. `IF_SHOWN`: it shows nothing itself, and the zone's own servers are asked.
    `YES`: where the other conditions hold as well."""

    NEVER = "never"
    IF_SHOWN = "if its servers show it"
    YES = "yes"


class Cause(msgspec.Struct, frozen=True):
    """One row. `text`: for people, as a part of a sentence."""

    code: str
    fault: Fault
    permits: Permits
    text: str


_T, _P, _A = Fault.TARGET, Fault.PERSPECTIVE, Fault.APPLIANCE
_ROWS: Final = (
    # What the perspective's own resolver said, or did not.
    Cause("dns.timeout", _T, Permits.IF_SHOWN, "the perspective's resolver gave no answer in time"),
    Cause("dns.servfail", _T, Permits.IF_SHOWN, "the perspective's resolver said SERVFAIL"),
    Cause("dns.bogus", _T, Permits.NEVER, "signatures did not hold (DNSSEC bogus)"),
    Cause("dns.formerr", _P, Permits.NEVER, "the perspective's resolver said FORMERR"),
    Cause("dns.notimp", _P, Permits.NEVER, "the perspective's resolver said NOTIMP"),
    Cause("dns.refused", _P, Permits.NEVER, "the perspective's resolver refused the question"),
    Cause("dns.yxdomain", _T, Permits.NEVER, "a DNAME made a name that is too long"),
    Cause("dns.malformed", _T, Permits.NEVER, "the response was malformed"),
    Cause("dns.too-many-records", _T, Permits.NEVER, "the response had more records than are read"),
    Cause("dns.hung-up", _T, Permits.NEVER, "the perspective's resolver hung up twice without an answer"),
    Cause("dns.name", _T, Permits.NEVER, "a name has a character that no name here may have"),
    Cause("dns.busy", _P, Permits.NEVER, "too many questions were in flight"),
    Cause("dns.unreachable", _P, Permits.NEVER, "there was no resolver"),
    Cause("dns.chain.too-long", _T, Permits.NEVER, "a CNAME chain that was answered is longer than is configured"),
    Cause("caa.no-such-tld", _T, Permits.NEVER, "there is no such top-level domain"),
    # What ended the way to the name servers of the zone that failed.
    Cause("caa.chain-too-long", _T, Permits.NEVER, "the CNAME chain is longer than delegation.max_cname_chain"),
    Cause("caa.chain-loop", _T, Permits.NEVER, "the CNAME chain comes back to a name that it had already"),
    Cause("caa.no-zone", _P, Permits.NEVER, "no zone above the name was found whose name servers are known"),
    Cause("caa.server-special-purpose", _T, Permits.NEVER, "a name server is at an address that must not be contacted"),
    Cause("caa.server-without-address", _T, Permits.NEVER, "the addresses of a name server could not be found out"),
    Cause("caa.too-many-servers", _T, Permits.NEVER, "the zone has more name servers, or addresses of them, than are asked"),
    Cause("caa.bad-referral", _T, Permits.NEVER, "a name server refers to a zone that does not lead to the name"),
    Cause("caa.walk-too-long", _T, Permits.NEVER, "there are more delegations on the way to the name than are followed"),
    Cause("caa.too-many-failures", _T, Permits.NEVER, "more labels of the name failed than are looked into"),
    Cause("caa.busy", _P, Permits.NEVER, "no more sockets were to be had for questions to name servers"),
    Cause("caa.deadline", _P, Permits.NEVER, "the check's time did not suffice to show the failure twice"),
    # What the zone's own name servers made of the questions.
    Cause("caa.zone-answers", _T, Permits.NEVER, "a name server answers the question for CAA when it is asked directly"),
    Cause("caa.server-refers", _T, Permits.NEVER, "a name server refers to others when it is asked directly"),
    Cause("caa.server-odd", _T, Permits.NEVER, "a name server gives an answer that is no error and not understood"),
    Cause("caa.server-silent", _T, Permits.NEVER, "nothing came from a name server at all, which the path may be to blame for"),
    Cause("caa.servers-fail", _T, Permits.YES, "every name server answers with an error or refuses the connection, twice"),
    Cause("caa.servers-drop", _T, Permits.YES, "every name server fails or answers SOA and drops CAA, twice"),
    # The other conditions.
    Cause("caa.not-insecure", _T, Permits.NEVER, "a name on the way is not shown to be Insecure (RFC 4035 section 4.3)"),
    Cause("caa.not-outside", _P, Permits.NEVER, "the failure may be the perspective's own"),
)  # fmt: skip

CAUSES: Final[dict[str, Cause]] = {row.code: row for row in _ROWS}


def cause_of(code: str) -> Cause:
    """The row of `code`. What nobody thought of is a bug of ours, and refuses."""
    return CAUSES.get(code) or Cause(code, _A, Permits.NEVER, "the look-up ended in a way that is not foreseen")


def judge(asked: Sequence[ServerAsked], addresses: Collection[str], silence_us: int) -> str:
    """The code of the cause that these questions to `addresses`, all of the zone's servers', show.

    Any answer, whenever it came, refuses; a server must fail in both rounds. `silence_us`: how long nothing must have come
    for CAA, while SOA was answered, until that counts as dropped; in the second round, which begins later, four fifths of it.
    """
    of_caa = [one for one in asked if one.type == "CAA"]
    for said, code in (
        (ServerSaid.ANSWER, "caa.zone-answers"),
        (ServerSaid.REFERRAL, "caa.server-refers"),
        (ServerSaid.ODD, "caa.server-odd"),
    ):
        if any(one.said is said for one in of_caa):
            return code
    found = {_of_one(asked, address, number, silence_us) for address in addresses for number in ROUNDS}
    for code in ("caa.server-silent", "caa.deadline", "caa.servers-drop"):
        if code in found:
            return code
    return "caa.servers-fail" if found == {"caa.servers-fail"} else "caa.server-silent"


def _of_one(asked: Sequence[ServerAsked], address: str, number: int, silence_us: int) -> str:
    """What one address shows in one round."""
    here = {one.type: one for one in asked if one.address == address and one.round == number}
    caa, soa = here.get("CAA"), here.get("SOA")
    if caa is None:
        return "caa.deadline"
    if caa.said in {ServerSaid.ERROR, ServerSaid.CLOSED}:
        return "caa.servers-fail"
    if caa.said is not ServerSaid.SILENT or soa is None or soa.said is not ServerSaid.ANSWER:
        return "caa.server-silent"
    enough_us = silence_us if number == ROUNDS[0] else silence_us * 4 // 5
    return "caa.servers-drop" if caa.elapsed_us >= enough_us else "caa.deadline"
