"""From what a tunnel shows to its state. Pure."""

from __future__ import annotations

from appliance.linux import wireguard
from appliance.model.tunnel import TunnelState

# WireGuard makes new keys when a packet leaves 120 s after the last handshake and drops them after 180 s (REKEY_AFTER_TIME
# and REJECT_AFTER_TIME of the WireGuard paper, section 6.1). With a keepalive of 25 s an idle tunnel was seen at up to 129 s.
DEGRADED_S = 135
DOWN_S = 180


def state_of(interface: wireguard.Interface | None, now_s: float) -> tuple[TunnelState, str]:
    """The state by the age of the latest handshake, and the reason where it is not UP. `now_s`: UNIX seconds."""
    if interface is None:
        return TunnelState.DOWN, "the WireGuard backend does not answer"
    if not interface.peers or interface.peers[0].latest_handshake_s == 0:
        return TunnelState.DOWN, "no handshake so far"
    age_s = max(0, int(now_s) - interface.peers[0].latest_handshake_s)
    if age_s >= DOWN_S:
        return TunnelState.DOWN, f"latest handshake {age_s} s ago"
    if age_s >= DEGRADED_S:
        return TunnelState.DEGRADED, f"latest handshake {age_s} s ago"
    return TunnelState.UP, ""
