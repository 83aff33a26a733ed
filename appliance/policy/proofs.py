"""The single proofs of a perspective, from what its worker and its tunnel say and what is configured. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from ipaddress import ip_address

from appliance.model.health import WorkerStatus
from appliance.model.place import Rir
from appliance.model.proof import Measured, Proof, ProofKind, Result
from appliance.model.tunnel import TunnelState, TunnelStatus
from appliance.policy.places import LEAST_ANCHORS, PlaceVerdict
from appliance.policy.routing import Match, Origin, Routes, longest_match, more_specifics

ATTESTED_FOR = timedelta(days=398)
"""How long an attestation counts. It should be renewed every year; 398 days, the longest that the BRs let a certificate live,
leave a month for it."""
# The operator's date is a local one, ours is UTC's.
_DATE_TOLERANCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is configured of one perspective. `tunnelled` is False for the primary, whose AS may be unknown (None). `rir`: of its
    place's country."""

    code: str
    tunnelled: bool
    egress_addresses: tuple[str, ...]
    origin_asn: int | None
    provider: str
    upstreams: tuple[int, ...]
    attested_on: date | None
    rir: Rir | None = None


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The routes to the egress addresses. `at`: RFC 3339 UTC, of the oldest file; `problem`: why they cannot be used.

    `registries`: where each egress address is registered, as far as that is known; `registries_problem`: why it is not.
    """

    at: str | None = None
    problem: str | None = None
    routes: Routes = field(default_factory=dict)
    registries: Mapping[str, Rir] = field(default_factory=dict)
    registries_problem: str | None = None


def exit_address(
    expected: Expected, worker: WorkerStatus | None, *, asked: bool, provable: Collection[int] = (4, 6)
) -> Proof:
    """Judge whether authenticated anchors see a configured address, for each IP version.

    `asked`: whether anchors are configured. `provable`: IP versions that an https:// anchor can be asked over. What other anchors
    see can be forged; it counts only against the perspective.
    """
    kind = ProofKind.EXIT_ADDRESS
    if not asked:
        return Proof(kind, Result.NOT_CONFIGURED, "no anchors are configured")
    if worker is None:
        return _no_worker(kind)
    seen = worker.egress_addresses
    facts = (("seen", " ".join(seen)), ("configured", " ".join(expected.egress_addresses)))
    other = [address for address in seen if address not in expected.egress_addresses]
    if other:
        text = f"outside anchors see {', '.join(other)}, not a configured egress address"
        return Proof(kind, Result.FAILED, text, worker.anchored_at, facts=facts)
    versions = {ip_address(address).version for address in expected.egress_addresses}
    unprovable = _versions(versions.difference(provable))
    if unprovable:
        text = f"no https:// anchor can be asked over {unprovable}, and the answers of http:// anchors can be forged"
        return Proof(kind, Result.NOT_CONFIGURED, text, worker.anchored_at, facts=facts)
    proven = [address for address in worker.authenticated_addresses if address in expected.egress_addresses]
    unseen = _versions(versions.difference(ip_address(address).version for address in proven))
    if unseen:
        text = f"no anchor whose certificate verifies has seen its address over {unseen}"
        return Proof(kind, Result.MISSING, text, worker.anchored_at, facts=facts)
    return Proof(kind, Result.VALID, f"authenticated anchors see {', '.join(proven)}", worker.anchored_at, facts=facts)


def _versions(versions: Iterable[int]) -> str:
    return " and ".join(f"IPv{version}" for version in sorted(versions))


def origin(expected: Expected, table: RoutingTable | None) -> Proof:
    """Judge whether the configured AS, and no other, originates the most specific route to every egress address.

    Another origin AS of that prefix, or of one within it that contains the address, is a hijack or looks like one, however few
    peers see it. `table` None: no data.
    """
    kind = ProofKind.ORIGIN
    if table is None:
        return Proof(kind, Result.NOT_CONFIGURED, "no routing data is configured")
    if expected.origin_asn is None:
        return Proof(kind, Result.NOT_CONFIGURED, "no origin AS is configured")
    if table.problem is not None:
        return Proof(kind, Result.MISSING, table.problem, table.at)
    wrong, facts, notes = [], [], tuple(_registry_notes(expected, table))
    for address in expected.egress_addresses:
        match = longest_match(address, table.routes)
        if match is None:
            wrong.append(f"{address} has no route")
            continue
        told = f"{match.prefix} by {' '.join(f'AS{asn}' for asn in sorted({one.asn for one in match.origins}))}"
        facts.append((address, told))
        wrong += _against(expected.origin_asn, address, match, more_specifics(address, match.prefix, table.routes))
    if wrong:
        return Proof(kind, Result.FAILED, "; ".join(wrong), table.at, facts=tuple(facts), notes=notes)
    text = f"AS{expected.origin_asn} originates its addresses"
    return Proof(kind, Result.VALID, text, table.at, facts=tuple(facts), notes=notes)


def _against(asn: int, address: str, match: Match, within: Iterable[Match]) -> Iterator[str]:
    if all(one.asn != asn for one in match.origins):
        yield f"{address} is in {match.prefix} by {_counted(match.origins)}, not AS{asn}"
    elif others := tuple(one for one in match.origins if one.asn != asn):
        yield (
            f"{address} is in {match.prefix}, which {_counted(others)} originates beside AS{asn}: a hijack, or a prefix of "
            "several origins, which proves nothing; use addresses that one AS alone originates"
        )
    for route in within:
        if others := tuple(one for one in route.origins if one.asn != asn):
            yield f"{address} is in {route.prefix} by {_counted(others)}, within {match.prefix} of AS{asn}"


def _counted(origins: Iterable[Origin]) -> str:
    """Every AS with the number of peers that see its route."""
    peers: dict[int, int] = {}
    for one in origins:
        peers[one.asn] = max(one.peers, peers.get(one.asn, 0))
    return ", ".join(f"AS{asn} (seen by {count} peers)" for asn, count in sorted(peers.items()))


def _registry_notes(expected: Expected, table: RoutingTable) -> Iterator[str]:
    """The region follows from the place; who registered an address there may be at home elsewhere."""
    if table.registries_problem is not None:
        yield table.registries_problem
    for address in expected.egress_addresses:
        registry = table.registries.get(address)
        if registry is not None and expected.rir is not None and registry is not expected.rir:
            yield f"{address} is registered at {registry}; its place is in the region of {expected.rir}"


def place(
    verdict: PlaceVerdict | None, measured: Measured | None, *, city: str, asked: bool, anchors: Mapping[str, str]
) -> Proof:
    """Whether the speed of light allows the claimed place. `asked`: whether there are anchors enough to prove it; to contradict
    it one is enough. `anchors`: cities by name."""
    kind = ProofKind.PLACE
    too_few = Proof(kind, Result.NOT_CONFIGURED, f"fewer than {LEAST_ANCHORS} authenticated anchors are configured")
    if verdict is None or measured is None:
        text = "no round trip to an authenticated anchor has been measured"
        return Proof(kind, Result.MISSING, text) if asked else too_few
    facts = (
        ("tunnel", f"{measured.tunnel_us} us"),
        *(
            (one.anchor, f"{one.smallest_us} us to {anchors.get(one.anchor, '?')}, {one.replies} replies")
            for one in measured.round_trips
        ),
    )
    if verdict.against:
        return Proof(kind, Result.FAILED, f"not in {city}: {verdict.against[0]}", measured.at, facts=facts)
    if not asked:
        return too_few
    if not verdict.enough:
        text = f"{len(verdict.anchors)} authenticated anchors answered, {LEAST_ANCHORS} are needed"
        return Proof(kind, Result.MISSING, text, measured.at, facts=facts)
    text = f"{len(verdict.anchors)} authenticated anchors allow {city}"
    return Proof(kind, Result.VALID, text, measured.at, facts=facts)


def confinement(worker: WorkerStatus | None, tunnel: TunnelStatus | None, *, at: str) -> Proof:
    """Whether the worker is confined to the namespace that the tunnel daemon publishes."""
    kind = ProofKind.CONFINEMENT
    if worker is None:
        return _no_worker(kind)
    facts = (
        ("worker's namespace", str(worker.netns_inode)),
        ("published namespace", "none" if tunnel is None else f"{tunnel.netns} {tunnel.netns_inode}"),
    )
    if tunnel is not None and tunnel.netns_inode and tunnel.netns_inode != worker.netns_inode:
        text = "the worker is in another network namespace than the one that is published"
        return Proof(kind, Result.FAILED, text, at, facts=facts)
    if not worker.confined:
        return Proof(kind, Result.FAILED, "; ".join(worker.reasons), at, facts=facts)
    text = "the worker holds lo and its own interface in the published namespace, and no privilege"
    return Proof(kind, Result.VALID, text, at, facts=facts)


def path(expected: Expected, worker: WorkerStatus | None, tunnel: TunnelStatus | None, *, at: str) -> Proof:
    """Whether packets of full size reach the egress node and come back."""
    kind = ProofKind.PATH
    if not expected.tunnelled:
        return Proof(kind, Result.NOT_CONFIGURED, "it has no tunnel")
    if tunnel is not None and tunnel.state is TunnelState.DOWN:
        return Proof(kind, Result.FAILED, f"tunnel down: {tunnel.reason}", at)
    if worker is None:
        return _no_worker(kind)
    if not worker.path_up:
        reasons = "; ".join(worker.reasons) or "no answer from the far end of the path"
        return Proof(kind, Result.FAILED, reasons, at)
    return Proof(kind, Result.VALID, "the egress node answers, at full size too", at)


def attestation(expected: Expected, today: date) -> Proof:
    """Judge what nothing here can measure: the operator's word, which counts for `ATTESTED_FOR` from its date."""
    kind = ProofKind.ATTESTATION
    if not expected.tunnelled:
        return Proof(kind, Result.NOT_CONFIGURED, "the site is the CA's own")
    facts = (("provider", expected.provider), ("upstreams", " ".join(f"AS{asn}" for asn in expected.upstreams)))
    if expected.attested_on is None:
        return Proof(kind, Result.NOT_CONFIGURED, "provider and upstreams are not attested (attested_on)", facts=facts)
    on = expected.attested_on.isoformat()
    if is_future(expected.attested_on, today):
        return Proof(kind, Result.FAILED, f"attested_on {on} lies in the future; today is {today}", on, facts=facts)
    if today - expected.attested_on > ATTESTED_FOR:
        text = (
            f"attested_on {on} is more than {ATTESTED_FOR.days} days ago; attest anew that provider and upstreams hold"
        )
        return Proof(kind, Result.EXPIRED, text, on, facts=facts)
    return Proof(kind, Result.VALID, "provider and upstreams as the operator attests", on, facts=facts)


def is_future(attested_on: date, today: date) -> bool:
    """Whether nobody can have attested anything on that day yet, in any time zone. `today`: UTC's."""
    return attested_on > today + _DATE_TOLERANCE


def withheld(proofs: Iterable[Proof]) -> str | None:
    """Why a perspective with these proofs does not corroborate; None where it does. Failures come first."""
    against = sorted((one for one in proofs if one.stands_against), key=lambda one: one.result is Result.MISSING)
    if not against:
        return None
    return "; ".join(f"hand-off proof {one.kind} {one.result}: {one.text}" for one in against)


def _no_worker(kind: ProofKind) -> Proof:
    return Proof(kind, Result.MISSING, "no worker says anything")
