"""Keys and configuration files of the small net: two tunnels to one egress node, one over IPv4, one over IPv6.

The egress node has an interface of its own for each, with its own port, key and inner addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.system.small_net import EGRESS4, EGRESS6, OPERATOR4, PREFIX, PRIMARY4, PRIMARY6, UIDS, run

NAMES = ("ams", "fra")
ENDPOINTS = {"ams": f"{EGRESS4}:51820", "fra": f"[{EGRESS6}]:51821"}
PORTS = {"ams": 41001, "fra": 41002}
EGRESS_PORTS = {"ams": 51820, "fra": 51821}
NETS = {"ams": ("10.77.0", "fd77:"), "fra": ("10.78.0", "fd78:")}


def netns(code: str) -> str:
    """The namespace of a perspective or of the primary, `home`; a tunnel's interface has the same name."""
    return f"{PREFIX}-{code}"


def egress_link(code: str) -> str:
    """The egress node's interface for a perspective."""
    return f"{PREFIX}-e{code}"


@dataclass(frozen=True)
class Variant:
    """What a test wants otherwise."""

    codes: tuple[str, ...] = NAMES
    primary_link: str = "macvlan"
    uplink: str = "up0"
    endpoints: tuple[tuple[str, str], ...] = tuple(ENDPOINTS.items())
    interfaces: tuple[tuple[str, str], ...] = ()
    namespaces: tuple[tuple[str, str], ...] = ()


class Files:
    """Writes everything into one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.public: dict[str, str] = {}
        for name in (*NAMES, *(f"egress-{code}" for code in NAMES)):
            private = run("wg", "genkey").stdout
            self._secret(f"{name}.key", private)
            self.public[name] = run("wg", "pubkey", stdin=private).stdout.strip()
        self._secret("psk", run("wg", "genpsk").stdout)

    def _secret(self, name: str, content: str) -> None:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(content)

    def appliance(self, variant: Variant = Variant(), name: str = "appliance.toml") -> Path:
        """`appliance.toml` for these tunnels."""
        primary = [f"{PRIMARY4}/24", f"{PRIMARY6}/64"]
        tables = "".join(self._perspective(code, variant) for code in variant.codes)
        users = "\n".join(f"{user} = {uid}" for user, uid in UIDS.items())
        path = self.directory / name
        path.write_text(f"""
state_directory = "{self.directory}/state"
runtime_directory = "{self.directory}/run"
wireguard_go_launcher = "spawn"
[users]
{users}
api_group = 47106
operator_group = 47107
[primary]
code = "home"
netns = "{netns("home")}"
link = "{variant.primary_link}"
interface = "{PREFIX}-p"
uplink = "{variant.uplink}"
addresses = {primary}
gateways = ["198.18.50.1", "2001:db8:50::1"]
place = {{ city = "Bern", country = "CH", latitude = 46.9, longitude = 7.4 }}
[resolver]
trust_anchor_file = "/nowhere"
[targets]
special_purpose_exceptions = ["198.18.0.0/15", "2001:db8::/32"]
special_use_exceptions = ["example", "test"]
[api]
socket = "{self.directory}/run/api.sock"
operator_socket = "{self.directory}/run/operator.sock"
[caa]
issuer_domains = ["ca.example"]
{tables}
""")
        return path

    def _perspective(self, code: str, variant: Variant) -> str:
        number = NAMES.index(code)
        return f"""
[[perspectives]]
code = "{code}"
netns = "{dict(variant.namespaces).get(code, netns(code))}"
place = {{ city = "{code}", country = "{("NL", "PL")[number]}", latitude = 52.3, longitude = {4.9 + 15 * number} }}
provider = "provider"
upstreams = [65001]
origin_asn = {65002 + number}
egress_addresses = ["198.18.51.{2 + number}", "2001:db8:51::{2 + number}"]
[perspectives.wireguard]
interface = "{dict(variant.interfaces).get(code, netns(code))}"
private_key_file = "{self.directory}/{code}.key"
preshared_key_file = "{self.directory}/psk"
public_key = "{self.public[f"egress-{code}"]}"
endpoint = "{dict(variant.endpoints)[code]}"
listen_port = {PORTS[code]}
addresses = ["{NETS[code][0]}.2/32", "{NETS[code][1]}:2/128"]
second_addresses = ["{NETS[code][0]}.3/32", "{NETS[code][1]}:3/128"]
peer_addresses = ["{NETS[code][0]}.1", "{NETS[code][1]}:1"]
"""

    def egress(
        self, more: str = "", name: str = "egress.toml", codes: tuple[str, ...] = NAMES, last_peer: str = ""
    ) -> Path:
        """`egress.toml`; `more`: further top-level keys, `last_peer`: a further peer of the last interface."""
        path = self.directory / name
        path.write_text(f"""
special_purpose_exceptions = ["198.18.0.0/15", "2001:db8::/32"]
{more}
[uplink]
interface = "up0"
egress_addresses = ["{EGRESS4}", "{EGRESS6}"]
[ssh]
port = 8080
sources = ["{OPERATOR4}/32"]
{"".join(self._tenant(code) for code in codes)}
{last_peer}
""")
        return path

    def _tenant(self, code: str) -> str:
        return f"""
[[interfaces]]
name = "{egress_link(code)}"
listen_port = {EGRESS_PORTS[code]}
private_key_file = "{self.directory}/egress-{code}.key"
addresses = ["{NETS[code][0]}.1", "{NETS[code][1]}:1"]
[[interfaces.peers]]
name = "{code}"
public_key = "{self.public[code]}"
preshared_key_file = "{self.directory}/psk"
addresses = ["{NETS[code][0]}.2", "{NETS[code][1]}:2"]
"""
