"""The host's fence: users whose processes belong into a namespace send nothing from the host's own, but on `lo`.

It catches a worker or a resolver that was started in the wrong place. The confinement itself is the namespace.
"""

from __future__ import annotations

from appliance.config import Settings
from appliance.linux import nft
from appliance.linux.users import find_user
from appliance.tunnels.desired import DesiredNamespace, VethLink
from appliance.tunnels.record import Record

FAMILY = "inet"
TABLE = "mpic_fence"


def render(settings: Settings, primary: DesiredNamespace | None) -> str:
    """The table. Raises `NoSuchUser`."""
    users = settings.users
    confined = sorted({find_user(user).uid for user in (users.perspective, users.primary, users.resolver)})
    tunnels = find_user(users.wireguard).uid
    ports = ", ".join(str(perspective.wireguard.listen_port) for perspective in settings.perspectives)
    lines = [
        f"table {FAMILY} {TABLE} {{",
        "  chain output {",
        "    type filter hook output priority filter; policy accept;",
        '    oifname "lo" accept',
        f"    meta skuid {{ {', '.join(map(str, confined))} }} counter reject with icmpx admin-prohibited",
        # Without a tunnel there is no port to name, and nftables knows no empty set.
        *([f"    meta skuid {tunnels} udp sport {{ {ports} }} accept"] if ports else []),
        f"    meta skuid {tunnels} counter reject with icmpx admin-prohibited",
        "  }",
    ]
    if primary is not None and isinstance(primary.link, VethLink):
        lines += _forward(primary, primary.link)
    return "".join(f"{line}\n" for line in [*lines, "}"])


def _forward(primary: DesiredNamespace, link: VethLink) -> list[str]:
    """The host forwards for the primary between its veth and the uplink, only under the primary's own addresses."""
    lines = ["  chain forward {", "    type filter hook forward priority filter; policy accept;"]
    for version, word in ((4, "ip"), (6, "ip6")):
        own = ", ".join(sorted(str(a.ip) for a in primary.addresses if a.version == version))
        if own:
            lines.append(f'    iifname "{link.host_name}" oifname "{link.uplink}" {word} saddr {{ {own} }} accept')
            lines.append(f'    iifname "{link.uplink}" oifname "{link.host_name}" {word} daddr {{ {own} }} accept')
    lines.append(f'    iifname "{link.host_name}" counter drop')
    lines.append(f'    oifname "{link.host_name}" counter drop')
    return [*lines, "  }"]


async def keep(rules: str, record: Record) -> bool:
    """Puts the fence up where it is not, or not as it was put up. True where it had to be. Raises `CommandFailed`."""
    found = await nft.listing(FAMILY, TABLE)
    noted = f"{rules}\n{found}"
    if found is not None and record.fence == noted:
        return False
    await nft.replace(FAMILY, TABLE, rules)
    record.set_fence(f"{rules}\n{await nft.listing(FAMILY, TABLE)}")
    return True
