"""The shape of `appliance.toml`: every key, its type, its default and the rule that it must satisfy alone.

Rules between keys are in `appliance.config.rules`; rules of the BRs in `appliance.policy`.
"""

from __future__ import annotations

from datetime import date
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

IANA_ROOT_ANCHORS = Path(__file__).parents[1] / "perspective" / "data" / "root-anchors.ds"
IpAddress = IPv4Address | IPv6Address
IpInterface = IPv4Interface | IPv6Interface
IpNetwork = IPv4Network | IPv6Network
Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
NetnsName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
# IFNAMSIZ is 16 with the terminating NUL (linux/if.h).
InterfaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$")]
WireGuardKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$")]
# 32 octets in base64, as for WireGuard.
Ed25519Key = WireGuardKey
Port = Annotated[int, Field(ge=1, le=65535)]
HostPort = Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$")]
DomainName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlaceConfig(_Section):
    """A place on the Earth, WGS-84 degrees; `country` decides the RIR region (BR 3.2.2.9).

    `country_override`: why the coordinates lie more than 50 km outside of `country`. It is recorded, and never changes the region.
    """

    city: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    country_override: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{10,200}$")] | None = None


class WireGuardConfig(_Section):
    """One tunnel. `addresses` are the inner ones of the appliance, `peer_addresses` the egress node's inner ones.

    `second_addresses`: the appliance's inner ones with the key of the second slot; without them keys cannot be rotated.
    `status_port`: where the egress node tells at its inner address how it is; 0: it is not asked.
    """

    interface: InterfaceName
    private_key_file: Path
    preshared_key_file: Path | None = None
    public_key: WireGuardKey
    endpoint: HostPort
    listen_port: Port
    addresses: Annotated[tuple[IpInterface, ...], Field(min_length=1)]
    second_addresses: tuple[IpInterface, ...] = ()
    peer_addresses: Annotated[tuple[IpAddress, ...], Field(min_length=1)]
    mtu: Annotated[int, Field(ge=1280, le=1420)] = 1280
    persistent_keepalive_s: Annotated[int, Field(ge=1, le=120)] = 25
    backend: Literal["auto", "kernel", "wireguard-go"] = "auto"
    status_port: Annotated[int, Field(ge=0, le=65535)] = 51822


class EchoConfig(_Section):
    """An `mpic-echo` server: it signs what it is sent, by the Ed25519 key of which `public_key` is the other half."""

    address: IpAddress
    port: Port = 51821
    public_key: Ed25519Key


class PlaceAnchorConfig(EchoConfig):
    """An `mpic-echo` that stands at a known place, apart from the egress nodes."""

    name: Code
    place: PlaceConfig


class RoutingConfig(_Section):
    """Dumps of the global routing table in the form of RIPE's riswhoisdump, one or more, as plain text.

    `registry_files`: the registries' extended delegation statistics (`nro-delegated-stats`), for a note where an address is
    registered in another region than its place's. `max_age_s`: what is older is not believed."""

    files: Annotated[tuple[Path, ...], Field(min_length=1)]
    registry_files: tuple[Path, ...] = ()
    max_age_s: Annotated[int, Field(ge=60)] = 172_800


class _RemoteSite(_Section):
    """What is known of any remote network perspective, whoever runs it."""

    code: Code
    place: PlaceConfig
    provider: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    upstreams: tuple[Annotated[int, Field(ge=1, le=4294967295)], ...]
    origin_asn: Annotated[int, Field(ge=1, le=4294967295)]
    egress_addresses: Annotated[tuple[IpAddress, ...], Field(min_length=1)]


class PerspectiveConfig(_RemoteSite):
    """One remote network perspective. `egress_addresses`: the addresses that the Internet sees it use.

    `attested_on`: when the operator last made sure of `provider` and `upstreams`; it counts for 398 days. `echo`: the egress
    node's `mpic-echo`, by which the other perspectives measure their distance to it.
    `announced_prefixes`: those that `origin_asn` announces the addresses by; without, the most specific VRP's is taken.
    """

    netns: NetnsName
    announced_prefixes: tuple[IpNetwork, ...] = ()
    wireguard: WireGuardConfig
    attested_on: date | None = None
    echo: EchoConfig | None = None


class RemotePerspectiveConfig(_RemoteSite):
    """A remote network perspective that somebody else runs and shares (`packaging/docs/perspective-protocol.md`). `url` ends in
    `/perspectives/CODE`, with the code that it has there; `ca_file`: the only authority that may vouch for it."""

    url: Annotated[
        str, StringConstraints(pattern=r"^https://[^\s/?#@]+(/[^\s/?#]+)*/perspectives/[a-z0-9][a-z0-9-]{0,30}$")
    ]
    certificate_file: Path
    private_key_file: Path
    ca_file: Path


class PrimaryConfig(_Section):
    """The primary network perspective. With `kind = "caller"` only `code` and `place` count: the caller states its result.

    `link = "macvlan"`: an interface on `uplink` with `addresses` of the uplink's own network and its `gateways`.
    `link = "routed-veth"`: a veth to the host, which routes; `addresses` are host routes that the site's router sends here.
    """

    kind: Literal["local", "caller"] = "local"
    code: Code
    place: PlaceConfig
    netns: NetnsName | None = None
    link: Literal["macvlan", "routed-veth"] = "macvlan"
    interface: InterfaceName = "primary0"
    uplink: InterfaceName | None = None
    addresses: tuple[IpInterface, ...] = ()
    gateways: tuple[IpAddress, ...] = ()
    origin_asn: Annotated[int, Field(ge=1, le=4294967295)] | None = None


class UserConfig(_Section):
    """Users that the processes run as, by name or number; none is root. `mpicctl` uses the group `operator_group`."""

    mpicd: str | int = "mpic"
    perspective: str | int = "mpic-perspective"
    primary: str | int = "mpic-primary"
    resolver: str | int = "mpic-resolver"
    wireguard: str | int = "mpic-wireguard"
    api_group: str | int = "mpic-api"
    operator_group: str | int = "mpic-operator"


class ResolverConfig(_Section):
    """The validating resolver of each perspective. `root_hints` None: the resolver's built-in ones.

    `trust_anchor_file`: DS or DNSKEY records of the root; both keys of a running key roll. `port`: on loopback.
    """

    trust_anchor_file: Path = IANA_ROOT_ANCHORS
    root_hints: Path | None = None
    port: Port = 5335
    cache_max_ttl_s: Annotated[int, Field(ge=0, le=60)] = 60


class TargetConfig(_Section):
    """What may be validated and contacted, and how we present ourselves to it.

    Both lists of exceptions are for an emulated Internet, and empty in production: `special_purpose_exceptions` are networks that
    may be validated and contacted although special-purpose (RFC 6890); `special_use_exceptions` are the names that are reserved
    for tests and documentation (RFC 6761) and count as any other.
    """

    special_purpose_exceptions: tuple[IpNetwork, ...] = ()
    special_use_exceptions: tuple[Literal["example", "example.com", "example.net", "example.org", "test"], ...] = ()
    user_agent: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,200}$")] = "mpic-appliance"


class AnchorConfig(_Section):
    """An outside server that answers with the source address it sees, as text, for the proof `exit-address`.

    `ca_file`: the only certificates that may vouch for it; None: the system's roots. Anyone on the path can forge the answer of
    an `http://` anchor. It can contradict a perspective and never proves one.
    """

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    ca_file: Path | None = None

    @property
    def authenticated(self) -> bool:
        """Whether a certificate shows that the answer is the anchor's own."""
        return self.url.startswith("https://")


class CaaConfig(_Section):
    """The CA's issuer-domain-names (RFC 8659 section 4.2), used where the caller names none.

    `parameters_to_caller`: RFC 8657 parameters are not enforced, but reported for the caller to decide.
    """

    issuer_domains: Annotated[tuple[DomainName, ...], Field(min_length=1)]
    parameters_to_caller: bool = False


class DelegationConfig(_Section):
    """CNAMEs on the way to a validation record. A chain that ends in one of `ca_delegation_zones`, zones that the CA runs,
    must end at the target that the request names (BR 3.2.2.4.7). The resolver itself follows no more than 11."""

    max_cname_chain: Annotated[int, Field(ge=0, le=11)] = 8
    ca_delegation_zones: tuple[DomainName, ...] = ()


class EvidenceConfig(_Section):
    """When the chain of evidence gets a signed checkpoint, and where else than to the store and the journal it goes.

    `checkpoint_file`: a line is appended for each; make it append-only (`chattr +a`) or let it lie on another machine.
    """

    checkpoint_file: Path | None = None
    checkpoint_records: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    checkpoint_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0


class TimeLimits(_Section):
    """Seconds. `check_s`: one perspective's whole check. `straggler_s`: how long a known decision waits for late
    observations at least; longer where it took long to be known, or where a perspective is far away. `answer_s`: the
    whole answer, always; CA software gives up at 10 s. `anchor_valid_s`: how long what an outside anchor saw counts while
    no anchor answers. `place_interval_s`: how often times to authenticated anchors are taken."""

    check_s: Annotated[float, Field(gt=0, le=30)] = 8.0
    straggler_s: Annotated[float, Field(ge=0, le=10)] = 1.0
    answer_s: Annotated[float, Field(gt=0, le=60)] = 9.5
    dns_query_s: Annotated[float, Field(gt=0, le=20)] = 5.0
    connect_s: Annotated[float, Field(gt=0, le=20)] = 3.0
    tls_s: Annotated[float, Field(gt=0, le=20)] = 3.0
    response_s: Annotated[float, Field(gt=0, le=20)] = 4.0
    probe_interval_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    anchor_valid_s: Annotated[float, Field(gt=0, le=604800)] = 3600.0
    place_interval_s: Annotated[float, Field(gt=0, le=3600)] = 10.0


class ClockConfig(_Section):
    """With `require_synchronised` the appliance decides nothing, and checks nothing for partners, while the kernel's clock has
    been without synchronisation (adjtimex(2)) for `grace_s` seconds or more: evidence bears its time, and the BRs' dates go by
    it. The grace begins only after it was synchronised once since the start. Without, every answer and every record warns of it."""

    require_synchronised: bool = True
    grace_s: Annotated[int, Field(ge=0, le=86400)] = 600


class TcpConfig(_Section):
    """One TCP listener of the API. `api-key`: on loopback only; TLS where the two files are given. `mutual-tls`: TLS 1.3 with
    a client certificate that `client_ca_file` vouches for and that `mpicctl client add` registered."""

    address: IpAddress
    port: Port
    authentication: Literal["api-key", "mutual-tls"] | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None
    client_ca_file: Path | None = None


class CallerLimits(_Section):
    """What one caller may do at most; `mpicctl apikey add` and `client add` can set less for one. `burst`: requests at once."""

    requests_per_s: Annotated[int, Field(ge=1, le=100_000)] = 2000
    burst: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    concurrent: Annotated[int, Field(ge=1, le=4096)] = 1024


class FeedConfig(_Section):
    """Where `mpic-feed` fetches from, each None where somebody else puts the file there; `timeout_s`: for each, whole."""

    vrp_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = None
    beacons_url: Annotated[str, StringConstraints(pattern=r"^https://[^\s]+$")] | None = None
    ca_file: Path | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 300.0


class RovConfig(_Section):
    """Measuring whether each egress network drops RPKI-invalid routes.

    `policy`: `require`: a remote whose path is not FILTERING does not corroborate; `warn`: the answer says so; `record`.
    `vrp_file`: the JSON export of rpki-client or Routinator; without it nothing counts. `beacons_file` None: the public ones
    that come with the product. `ca_file` None: the system's certificates. Seconds: `vrp_max_age_s`, the limits of one probe
    (`valid_limit_s`, `invalid_limit_s`), `round_max_age_s` after which a round no longer counts, `enrolment_interval_s`
    between rounds at enrolment, `interval_s` between rounds after that, jittered by half of it either way;
    `dead_retry_s`: how long a beacon that nobody reaches is left alone. With `schedule` false `mpicctl rov run` alone measures.
    """

    policy: Literal["require", "warn", "record"] = "warn"
    vrp_file: Path | None = None
    vrp_max_age_s: Annotated[float, Field(gt=0, le=604800)] = 6 * 3600.0
    beacons_file: Path | None = None
    ca_file: Path | None = None
    valid_limit_s: Annotated[float, Field(gt=0, le=30)] = 3.0
    invalid_limit_s: Annotated[float, Field(gt=0, le=60)] = 8.0
    schedule: bool = True
    enrolment_rounds: Annotated[int, Field(ge=6, le=100)] = 10
    enrolment_interval_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    window_rounds: Annotated[int, Field(ge=6, le=200)] = 30
    interval_s: Annotated[float, Field(gt=0, le=86400)] = 2400.0
    round_max_age_s: Annotated[float, Field(gt=0, le=2592000)] = 2 * 86400.0
    dead_retry_s: Annotated[float, Field(ge=0, le=86400)] = 600.0
    feed: FeedConfig = FeedConfig()


class ApiConfig(_Section):
    """Where the CA calls (`socket`, `tcp`), and where `mpicctl` does (`operator_socket`)."""

    socket: Path = Path("/run/mpic/api.sock")
    operator_socket: Path = Path("/run/mpic/operator.sock")
    concurrent_requests: Annotated[int, Field(ge=1, le=4096)] = 256
    caller: CallerLimits = CallerLimits()
    tcp: Annotated[tuple[TcpConfig, ...], Field(max_length=16)] = ()


class Settings(BaseSettings):
    """`appliance.toml`, whole."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 -- the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file alone: a stray variable of the environment must not change what is checked."""
        return (init_settings,)

    state_directory: Path = Path("/var/lib/mpic")
    runtime_directory: Path = Path("/run/mpic")
    users: UserConfig = UserConfig()
    wireguard_go_launcher: Literal["systemd", "spawn"] = "systemd"
    primary: PrimaryConfig
    perspectives: Annotated[tuple[PerspectiveConfig, ...], Field(max_length=64)] = ()
    remote_perspectives: Annotated[tuple[RemotePerspectiveConfig, ...], Field(max_length=64)] = ()
    resolver: ResolverConfig
    targets: TargetConfig = TargetConfig()
    anchors: tuple[AnchorConfig, ...] = ()
    place_anchors: tuple[PlaceAnchorConfig, ...] = ()
    routing: RoutingConfig | None = None
    caa: CaaConfig
    delegation: DelegationConfig = DelegationConfig()
    limits: TimeLimits = TimeLimits()
    clock: ClockConfig = ClockConfig()
    api: ApiConfig = ApiConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    rov: RovConfig = RovConfig()

    @property
    def tunnel_report(self) -> Path:
        """Where the tunnel daemon publishes `appliance.model.tunnel.TunnelReport`."""
        return self.runtime_directory / "tunnels.json"

    @property
    def tunnel_control(self) -> Path:
        """Where the tunnel daemon takes the operators' requests about keys."""
        return self.runtime_directory / "tunneld.sock"

    @property
    def database(self) -> Path:
        """The store of evidence."""
        return self.state_directory / "evidence" / "evidence.sqlite"

    @property
    def coordinator_directory(self) -> Path:
        """What the coordinator keeps besides evidence: the secret of its choice of perspectives, and the callers' register."""
        return self.state_directory / "coordinator"

    def worker_socket(self, code: str) -> Path:
        """Where the worker of perspective `code` (or the primary's) answers."""
        return self.runtime_directory / "workers" / code / "worker.sock"
