"""What wg(8) and the user-space protocol say, and what we tell them."""

from __future__ import annotations

import base64
from dataclasses import replace
from ipaddress import ip_network

import pytest

from appliance.linux.wireguard import Interface, Peer, parse_dump, parse_uapi, render
from appliance.model.tunnel import TunnelState
from appliance.tunnels.health import state_of
from tests.unit.tunnels.world import PEER, PRIVATE

KEY = base64.b64encode(bytes(range(32))).decode()
PSK = base64.b64encode(bytes(range(32, 64))).decode()
SEEN = Interface(
    private_key=PRIVATE,
    listen_port=41001,
    peers=(
        Peer(
            public_key=KEY,
            preshared_key=PSK,
            endpoint="[2001:db8::1]:51820",
            allowed_ips=frozenset({ip_network("0.0.0.0/0"), ip_network("::/0")}),
            persistent_keepalive_s=25,
            latest_handshake_s=1700000000,
            received_bytes=92,
            sent_bytes=180,
        ),
    ),
)


def test_dump_is_read() -> None:
    dump = f"{PRIVATE}\t{KEY}\t41001\toff\n{KEY}\t{PSK}\t[2001:db8::1]:51820\t0.0.0.0/0,::/0\t1700000000\t92\t180\t25\n"
    assert parse_dump(dump) == SEEN


def test_dump_of_a_bare_interface_is_read() -> None:
    assert parse_dump("(none)\t(none)\t33296\toff\n") == Interface(None, 33296, ())
    peer = parse_dump(f"(none)\t(none)\t1\toff\n{KEY}\t(none)\t(none)\t(none)\t0\t0\t0\toff\n").peers[0]
    assert peer == Peer(KEY, None, None, frozenset(), 0)


def test_the_user_space_protocol_says_the_same() -> None:
    hexed = {name: base64.b64decode(key).hex() for name, key in (("private", PRIVATE), ("key", KEY), ("psk", PSK))}
    answer = (
        f"private_key={hexed['private']}\nlisten_port=41001\npublic_key={hexed['key']}\npreshared_key={hexed['psk']}\n"
        "protocol_version=1\nendpoint=[2001:db8::1]:51820\nlast_handshake_time_sec=1700000000\n"
        "last_handshake_time_nsec=7\ntx_bytes=180\nrx_bytes=92\npersistent_keepalive_interval=25\n"
        "allowed_ip=0.0.0.0/0\nallowed_ip=::/0\nerrno=0\n\n"
    )
    assert parse_uapi(answer) == SEEN


def test_no_preshared_key_is_32_zero_octets_there() -> None:
    answer = f"listen_port=1\npublic_key={bytes(range(32)).hex()}\npreshared_key={'00' * 32}\nerrno=0\n\n"
    assert parse_uapi(answer).peers[0].preshared_key is None
    assert parse_uapi(answer).private_key is None


def test_the_rendered_file_always_has_a_port_and_no_absent_values() -> None:
    text = render(Interface(PRIVATE, 41001, (PEER,)))
    assert "ListenPort = 41001\n" in text
    assert "AllowedIPs = 0.0.0.0/0, ::/0\n" in text
    assert "Endpoint" not in text
    assert "PresharedKey" not in text
    assert "None" not in text
    full = render(SEEN)
    assert f"PresharedKey = {PSK}\n" in full
    assert "Endpoint = [2001:db8::1]:51820\n" in full


def test_no_secret_is_in_a_repr() -> None:
    assert PSK not in repr(SEEN)
    assert PRIVATE not in repr(SEEN)


@pytest.mark.parametrize(
    ("age_s", "state"),
    [
        (0, TunnelState.UP),
        (134, TunnelState.UP),
        (135, TunnelState.DEGRADED),
        (179, TunnelState.DEGRADED),
        (180, TunnelState.DOWN),
        (-5, TunnelState.UP),
    ],
)
def test_the_state_follows_the_age_of_the_handshake(age_s: int, state: TunnelState) -> None:
    assert state_of(SEEN, 1700000000.5 + age_s)[0] is state


def test_no_handshake_and_no_backend_are_down() -> None:
    never = replace(SEEN, peers=(replace(SEEN.peers[0], latest_handshake_s=0),))
    assert state_of(never, 1700000000) == (TunnelState.DOWN, "no handshake so far")
    assert state_of(None, 1700000000)[0] is TunnelState.DOWN
    assert state_of(replace(SEEN, peers=()), 1700000000)[0] is TunnelState.DOWN
