"""The emulated Internet as data: who is connected to whom, where, and who validates route origins.

Four Tier-1s in full mesh (one without ROV), two regional transits without ROV, a network per perspective, two
applicants, the DNS root, RPKI beacons of three operators (two pairs, one of them anycast, and a cover), and an attacker
who buys transit from two Tier-1s and peers remotely with every
perspective's network. ASNs are RFC 5398's. To add a machine, add data here.
"""

from __future__ import annotations

from typing import Final

from tests.lab.addresses import double_network, host, network
from tests.lab.model import (
    Anchor,
    AutonomousSystem,
    BeaconSite,
    Egress,
    Hijack,
    Lan,
    Link,
    Place,
    Prefix,
    Primary,
)

CA_DOMAIN: Final = "ca.example"
"""The issuer domain name that the lab's CAA records permit (RFC 8659 section 4.2)."""

ENDPOINT_PORT: Final = 51820

_FRANKFURT = Place("Frankfurt", "DE", 50.1109, 8.6821)
_ASHBURN = Place("Ashburn", "US", 39.0438, -77.4874)
_TOKYO = Place("Tokyo", "JP", 35.6762, 139.6503)
_ZURICH = Place("Zurich", "CH", 47.3769, 8.5417)
_AMSTERDAM = Place("Amsterdam", "NL", 52.3676, 4.9041)
_NEW_YORK = Place("New York", "US", 40.7128, -74.0060)
_SINGAPORE = Place("Singapore", "SG", 1.3521, 103.8198)
_SAO_PAULO = Place("Sao Paulo", "BR", -23.5505, -46.6333)
_JOHANNESBURG = Place("Johannesburg", "ZA", -26.2041, 28.0473)
_SYDNEY = Place("Sydney", "AU", -33.8688, 151.2093)

SYSTEMS: Final = (
    AutonomousSystem("nordlys", 64496, "Nordlys Carrier", _FRANKFURT, (network(1),), (host(1, 1), host(1, 80))),
    AutonomousSystem(
        "liberty",
        64497,
        "Liberty Carrier",
        _ASHBURN,
        (network(2),),
        (host(2, 1), host(2, 80)),
        rov_v4=True,
        rov_v6=True,
    ),
    AutonomousSystem(
        "pacific", 64498, "Pacific Carrier", _TOKYO, (network(3),), (host(3, 1), host(3, 80)), rov_v4=True, rov_v6=True
    ),
    AutonomousSystem(
        "hansa",
        64499,
        "Hansa Carrier",
        Place("Hamburg", "DE", 53.5511, 9.9937),
        (network(4),),
        (host(4, 1),),
        rov_v4=True,
        rov_v6=True,
    ),
    AutonomousSystem(
        "meridian", 64500, "Meridian Transit", Place("Lagos", "NG", 6.5244, 3.3792), (network(5),), (host(5, 1),)
    ),
    AutonomousSystem(
        "straits", 64501, "Straits Transit", Place("Jakarta", "ID", -6.2088, 106.8456), (network(6),), (host(6, 1),)
    ),
    AutonomousSystem("helvetia", 64502, "Helvetia Net", _ZURICH, (network(10),)),
    AutonomousSystem("polder", 64503, "Polder Hosting", _AMSTERDAM, (network(11),), rov_v4=True, rov_v6=True),
    AutonomousSystem("hudson", 64504, "Hudson Servers", _NEW_YORK, (network(12),)),
    AutonomousSystem("merlion", 64505, "Merlion Cloud", _SINGAPORE, (network(13),), rov_v4=True, rov_v6=True),
    AutonomousSystem("paulista", 64506, "Paulista Data", _SAO_PAULO, (network(14),)),
    AutonomousSystem(
        "highveld",
        64507,
        "Highveld Colo",
        _JOHANNESBURG,
        (network(15),),
        rov_v4=True,
        rov_v6=True,
        default_via="meridian",
    ),
    AutonomousSystem("harbour", 64508, "Harbour Hosting", _SYDNEY, (network(16),), rov_v4=True, rov_v6=True),
    AutonomousSystem(
        "quay",
        64509,
        "Quay Shop",
        Place("Toronto", "CA", 43.6532, -79.3832),
        (double_network(20), network(22)),
        (host(20, 80), host(22, 53)),
    ),
    AutonomousSystem(
        "sakura",
        64510,
        "Sakura Press",
        Place("Osaka", "JP", 34.6937, 135.5023),
        (double_network(24), network(26)),
        (host(24, 80), host(26, 53)),
        roas=False,
    ),
    AutonomousSystem(
        "roots",
        64511,
        "Root and TLD Registry",
        Place("Stockholm", "SE", 59.3293, 18.0686),
        (network(30), network(31)),
        (host(30, 53), host(31, 53)),
    ),
    AutonomousSystem(
        "mallory",
        65536,
        "Mallory Networks",
        Place("Nicosia", "CY", 35.1856, 33.3823),
        (network(66),),
        (host(66, 80), host(66, 53)),
    ),
    AutonomousSystem(
        "alpha",
        65537,
        "Alpha Beacons",
        Place("Munich", "DE", 48.1351, 11.5820),
        (network(40),),
        (host(40, 80),),
        invalid_prefixes=(network(41),),
        beacon_addresses=(host(41, 80),),
    ),
    AutonomousSystem(
        "betafra",
        65538,
        "Beta Beacons",
        _FRANKFURT,
        (network(42), network(44)),
        (host(42, 1),),
        invalid_prefixes=(network(45),),
        beacon_addresses=(host(44, 80), host(45, 80)),
    ),
    AutonomousSystem(
        "betalos",
        65538,
        "Beta Beacons",
        Place("Lagos", "NG", 6.5244, 3.3792),
        (network(43), network(44)),
        (host(43, 1),),
        invalid_prefixes=(network(45),),
        beacon_addresses=(host(44, 80), host(45, 80)),
    ),
    AutonomousSystem(
        "covera",
        65539,
        "Cover Beacon",
        _ASHBURN,
        (double_network(46),),
        (host(47, 1),),
        beacon_addresses=(host(46, 80),),
    ),
    AutonomousSystem(
        "coverb",
        65540,
        "Cover Beacon",
        _FRANKFURT,
        (network(48),),
        (host(48, 1),),
        invalid_prefixes=(network(46),),
        beacon_addresses=(host(46, 80),),
    ),
)

BEACON_SITES: Final = (
    BeaconSite("alpha-valid.beacon.lab", "alpha", host(40, 80), "alpha"),
    BeaconSite("alpha-invalid.beacon.lab", "alpha", host(41, 80), "alpha"),
    BeaconSite("beta-valid.beacon.lab", "betafra", host(44, 80), "fra"),
    BeaconSite("beta-invalid.beacon.lab", "betafra", host(45, 80), "fra"),
    BeaconSite("beta-valid.beacon.lab", "betalos", host(44, 80), "los"),
    BeaconSite("beta-invalid.beacon.lab", "betalos", host(45, 80), "los"),
    BeaconSite("cover.beacon.lab", "covera", host(46, 80), "A"),
    BeaconSite("cover.beacon.lab", "coverb", host(46, 80), "B"),
)

_TIER_1: Final = ("nordlys", "liberty", "pacific", "hansa")
_EDGES: Final = ("helvetia", "polder", "hudson", "merlion", "paulista", "highveld", "harbour")
_PROVIDERS: Final = {
    "meridian": ("nordlys",),
    "straits": ("pacific", "nordlys"),
    "helvetia": ("nordlys",),
    "polder": ("hansa",),
    "hudson": ("liberty",),
    "merlion": ("straits",),
    "paulista": ("meridian", "liberty"),
    "highveld": ("meridian",),
    "harbour": ("pacific", "liberty"),
    "quay": ("liberty", "pacific"),
    "sakura": ("liberty", "pacific"),
    "roots": ("hansa", "pacific"),
    "mallory": ("nordlys", "hansa"),
    "alpha": ("nordlys", "liberty"),
    "betafra": ("nordlys",),
    "betalos": ("meridian",),
    "covera": ("liberty", "pacific"),
    "coverb": ("nordlys",),
}

LINKS: Final = (
    *(Link(a, b, "peer") for i, a in enumerate(_TIER_1) for b in _TIER_1[i + 1 :]),
    *(Link(customer, provider, "customer") for customer, providers in _PROVIDERS.items() for provider in providers),
    *(Link("mallory", edge, "peer") for edge in _EDGES),
)

LANS: Final = tuple(
    Lan(router, machine, network(number), host(number, 1), host(number, 2))
    for router, machine, number in (
        ("helvetia", "ca", 10),
        ("polder", "ams", 11),
        ("hudson", "nyc", 12),
        ("merlion", "sin", 13),
        ("paulista", "gru", 14),
        ("highveld", "jnb", 15),
        ("harbour", "syd", 16),
    )
)

SYSTEM_BY_NAME: Final = {system.name: system for system in SYSTEMS}
_LAN_BY_HOST: Final = {lan.host: lan for lan in LANS}


def _upstreams(name: str) -> tuple[int, ...]:
    return tuple(SYSTEM_BY_NAME[provider].asn for provider in _PROVIDERS[name])


def _egress(code: str, rir: str) -> Egress:
    lan = _LAN_BY_HOST[code]
    system = SYSTEM_BY_NAME[lan.router]
    return Egress(
        code,
        system.place,
        rir,
        system.operator,
        system.asn,
        _upstreams(system.name),
        lan.host_address,
        lan.gateway,
        ENDPOINT_PORT,
    )


EGRESSES: Final = (
    _egress("ams", "RIPE NCC"),
    _egress("nyc", "ARIN"),
    _egress("sin", "APNIC"),
    _egress("gru", "LACNIC"),
    _egress("jnb", "AFRINIC"),
    _egress("syd", "APNIC"),
)

PRIMARY: Final = Primary(
    code="zrh",
    namespace="ca-lab",
    interface="uplink0",
    place=_ZURICH,
    rir="RIPE NCC",
    provider=SYSTEM_BY_NAME["helvetia"].operator,
    origin_asn=SYSTEM_BY_NAME["helvetia"].asn,
    upstream_asns=_upstreams("helvetia"),
    lan=network(10),
    gateway=host(10, 1),
    host_address=host(10, 2),
    address=host(10, 3),
)

ANCHORS: Final = (
    Anchor("fra", "fra.anchor.lab", "nordlys", _FRANKFURT, host(1, 80)),
    Anchor("iad", "iad.anchor.lab", "liberty", _ASHBURN, host(2, 80)),
    Anchor("hnd", "hnd.anchor.lab", "pacific", _TOKYO, host(3, 80)),
)

ROOT_ADDRESS: Final = host(30, 53)
TLD_ADDRESS: Final = host(31, 53)
WEB_ADDRESSES: Final = {"quay": host(20, 80), "sakura": host(24, 80), "mallory": host(66, 80)}
DNS_ADDRESSES: Final = {"quay": host(22, 53), "sakura": host(26, 53), "mallory": host(66, 53)}

_TRANSIT: Final = ("nordlys", "hansa")

HIJACKS: Final = {
    hijack.name: hijack
    for hijack in (
        Hijack(
            "equal-prefix",
            "quay",
            double_network(20),
            host(20, 80),
            SYSTEM_BY_NAME["quay"].asn,
            _TRANSIT,
            frozenset({"zrh", "ams", "jnb"}),
        ),
        Hijack(
            "sub-prefix",
            "quay",
            network(20),
            host(20, 80),
            None,
            _TRANSIT,
            frozenset({"zrh", "sin", "gru", "jnb"}),
        ),
        Hijack(
            "dns-prefix",
            "sakura",
            network(26),
            host(26, 53),
            SYSTEM_BY_NAME["sakura"].asn,
            _TRANSIT,
            frozenset({"zrh", "ams", "jnb"}),
        ),
        Hijack(
            "dns-prefix-signed",
            "quay",
            network(22),
            host(22, 53),
            SYSTEM_BY_NAME["quay"].asn,
            _TRANSIT,
            frozenset({"zrh", "ams", "jnb"}),
        ),
    )
}
"""By name. The first and the last two forge the origin, so that nearness alone decides (ROV sees a valid route);
the sub-prefix is RPKI-invalid, and takes whoever's path crosses a network without ROV."""


def namespaces() -> tuple[str, ...]:
    """Every namespace that the lab makes."""
    return tuple(system.namespace for system in SYSTEMS) + tuple(lan.namespace for lan in LANS)


def appliance_namespaces() -> dict[str, str]:
    """Namespace that the appliance makes on the CA's host for each perspective, the primary included, by code."""
    return {code: f"mpic-{code}-lab" for code in (PRIMARY.code, *(egress.code for egress in EGRESSES))}


def wireguard_interfaces() -> tuple[str, ...]:
    """Names of both ends of every tunnel; unique on the machine, since namespaces do not part wireguard-go's sockets."""
    return tuple(f"{end}-{egress.code}" for egress in EGRESSES for end in ("wg", "eg"))


def perspective_namespaces() -> dict[str, str]:
    """Namespace of each perspective's hand-off point by code; the primary's site included."""
    return {PRIMARY.code: PRIMARY.namespace} | {egress.code: egress.namespace for egress in EGRESSES}


def perspectives_behind(systems: tuple[str, ...]) -> frozenset[str]:
    """Codes of the perspectives whose own network is one of `systems`."""
    code_of = {namespace: code for code, namespace in perspective_namespaces().items()}
    return frozenset(code_of[lan.namespace] for lan in LANS if lan.router in systems)


def neighbours(name: str) -> tuple[str, ...]:
    """Names of the ASes that `name` has a link with."""
    return tuple(link.b if link.a == name else link.a for link in LINKS if name in (link.a, link.b))


def roas() -> tuple[tuple[int, Prefix], ...]:
    """(origin ASN, prefix) of each ROA; the maxLength is the prefix's own length. AS 0 makes a beacon's prefix invalid
    (RFC 6483 section 4); the more-specific in a cover is invalid by the less-specific's ROA."""
    own = [(system.asn, prefix) for system in SYSTEMS if system.roas for prefix in system.prefixes]
    covered = {network(46)}
    nobody = [(0, prefix) for system in SYSTEMS for prefix in system.invalid_prefixes if prefix not in covered]
    return tuple(dict.fromkeys(own + nobody))
