"""What one perspective saw in one check, whole: every look-up, address, hop and time, and whether it corroborates."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from appliance.model.check import Method

_Warnings = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=500)], ...], msgspec.Meta(max_length=8)]


class Outcome(StrEnum):
    """Only `MATCH` corroborates. `MISMATCH`: the target answered, with something else. `ERROR`: it could not be seen."""

    MATCH = "match"
    MISMATCH = "mismatch"
    ERROR = "error"


class Fault(StrEnum):
    """Whose an `ERROR` is: the target's side of the hand-off point, the perspective's own, or a bug of the appliance."""

    TARGET = "target"
    PERSPECTIVE = "perspective"
    APPLIANCE = "appliance"


class DnssecStatus(StrEnum):
    """RFC 4035 section 4.3."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"


class CheckError(msgspec.Struct, frozen=True):
    """`code` is a stable dotted word (`dns.timeout`, `http.redirect.refused`); `message` is for people; `step` names what ran."""

    code: str
    message: str
    step: str
    fault: Fault = Fault.TARGET


class Record(msgspec.Struct, frozen=True):
    """One resource record of an answer. `data` is the presentation form (RFC 1035 section 5, RFC 3597 where unknown)."""

    name: str
    type: str
    ttl_s: int
    data: str


class Lookup(msgspec.Struct, frozen=True):
    """One question to the perspective's resolver. `rcode` is None where no answer came. `chain`: CNAMEs in order.

    `ede`: extended DNS errors (RFC 8914) as `(info-code, extra text)`. `elapsed_us`: microseconds to the answer.
    `truncated`: the answer came over TCP, or was to. `clipped`: there were more records than are kept here.
    """

    name: str
    type: str
    rcode: str | None
    ad: bool
    dnssec: DnssecStatus
    records: tuple[Record, ...] = ()
    chain: tuple[Record, ...] = ()
    ede: tuple[tuple[int, str], ...] = ()
    truncated: bool = False
    elapsed_us: int = 0
    error: CheckError | None = None
    clipped: bool = False


class Connection(msgspec.Struct, frozen=True):
    """One attempt to connect. `certificate_sha256`: hex of the leaf's fingerprint where TLS was spoken; `alpn`: the
    protocol negotiated by it (RFC 7301), None where there is none."""

    address: str
    port: int
    connected: bool
    elapsed_us: int
    tls_version: str | None = None
    certificate_sha256: str | None = None
    error: CheckError | None = None
    alpn: str | None = None


class Hop(msgspec.Struct, frozen=True):
    """One HTTP request and its answer. `location` is the redirect's target as sent. `body_prefix`: the first 100 bytes, latin-1."""

    url: str
    connections: tuple[Connection, ...]
    status: int | None = None
    location: str | None = None
    body_length: int = 0
    body_sha256: str | None = None
    body_prefix: str = ""
    elapsed_us: int = 0
    error: CheckError | None = None


class CertificateSeen(msgspec.Struct, frozen=True):
    """The certificate of a TLS-ALPN challenge (RFC 8737 section 3). `alternative_names` as `dns:…` or `ip:…`, clipped.
    `acme_identifier`: hex of the extension's value; `self_signed`: subject = issuer, and the signature verifies."""

    sha256: str
    common_name: str | None
    alternative_names: tuple[str, ...]
    acme_identifier: str | None
    acme_identifier_critical: bool
    self_signed: bool


class ServerSaid(StrEnum):
    """What an authoritative server made of one question that the worker asked it itself. `ANSWER`: NOERROR or NXDOMAIN.
    `REFERRAL`: to other servers. `ERROR`: SERVFAIL, REFUSED, NOTIMP or FORMERR. `CLOSED`: it refused the connection, over UDP
    and TCP. `SILENT`: nothing came. `UNREACHABLE`: the question did not get there, or the answer not back, for another
    reason. `ODD`: all else, such as a malformed answer, another id or another RCODE."""

    ANSWER = "answer"
    REFERRAL = "referral"
    ERROR = "error"
    CLOSED = "closed"
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    ODD = "odd"


class ServerAsked(msgspec.Struct, frozen=True):
    """One question without recursion to one name server's address. `round`: 1 or 2. `type`: CAA at the name whose look-up
    failed, or SOA of its zone. `rcode`: of an error. `sent_us`: microseconds from the check's begin; `elapsed_us`: from there
    to what came, or for how long nothing did."""

    round: int
    address: str
    type: str
    said: ServerSaid
    rcode: str = ""
    sent_us: int = 0
    elapsed_us: int = 0


class LookupFailure(msgspec.Struct, frozen=True):
    """The three conditions under which a failed CAA look-up may be permission (BR 3.2.2.8); all must hold.

    `name`: whose look-up failed. `retried`: it failed again, where the worker asked the zone's own servers twice.
    `insecure_zone_cut`: where the resolver authenticated that there is no DS record, None where that could not be shown.
    `outside`: the failure is shown to be the target's: the servers themselves fail, the perspective's own proofs held, and a
    control look-up through the same resolver was answered meanwhile. `reason`: what was missing, or that nothing was.
    `cause`: which row of the table of causes it was. `chain`: the CNAMEs' targets from `name` on; the last is the name that
    was asked of the servers. `zone`: theirs. `servers`: what each was asked, when, and what came; empty in older records.
    """

    name: str
    retried: bool
    insecure_zone_cut: str | None
    outside: bool
    reason: str
    cause: str = ""
    chain: tuple[str, ...] = ()
    zone: str | None = None
    servers: tuple[ServerAsked, ...] = ()

    @property
    def permits(self) -> bool:
        """Whether all three hold."""
        return self.retried and self.insecure_zone_cut is not None and self.outside


class CaaFinding(msgspec.Struct, frozen=True):
    """The result of the climb (RFC 8659 section 3). `found_at` is None where no label up to the root has a CAA RRset.

    `rrset` are the records that decided, in presentation form; `reason` says in words why issuance is permitted or not.
    `parameters`: RFC 8657 parameters of the matching property, for a CA that decides them itself. `lookup_failure`: where
    a look-up failed and permission by failure was asked for, whether it may be; `further_failures`: the same of labels above
    that one, each of which has to hold too.
    """

    permitted: bool
    found_at: str | None
    rrset: tuple[str, ...]
    reason: str
    parameters: tuple[tuple[str, str], ...] = ()
    lookup_failure: LookupFailure | None = None
    further_failures: tuple[LookupFailure, ...] = ()

    @property
    def failures(self) -> tuple[LookupFailure, ...]:
        """All look-ups that failed, the nearest to the name first."""
        first = () if self.lookup_failure is None else (self.lookup_failure,)
        return (*first, *self.further_failures)


class Observation(msgspec.Struct, frozen=True):
    """What one perspective saw. `corroborates` is `outcome is MATCH`, kept beside it so that a reader need not know.

    `started_at`: RFC 3339, UTC, microseconds. `steps`: `(name, elapsed_us)` in order. `seen`: the value compared with
    the expected one, clipped. `egress_addresses`: the addresses that the outside anchors last saw this perspective use.
    `br_section`, `br_version`: the rule that was checked. `dnssec`: the weakest status among the look-ups that were
    needed, None where there was none. `connections`, `certificate`: of the method that speaks TLS only. `warnings`: what
    the appliance that it comes from has to say of its own clock.
    """

    request_id: str
    perspective: str
    method: Method
    outcome: Outcome
    corroborates: bool
    started_at: str
    elapsed_us: int
    errors: tuple[CheckError, ...] = ()
    seen: tuple[str, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    hops: tuple[Hop, ...] = ()
    caa: CaaFinding | None = None
    steps: tuple[tuple[str, int], ...] = ()
    egress_addresses: tuple[str, ...] = ()
    br_section: str = ""
    br_version: str = ""
    dnssec: DnssecStatus | None = None
    connections: tuple[Connection, ...] = ()
    certificate: CertificateSeen | None = None
    warnings: _Warnings = ()
