"""Keys and signatures of the lab's own DNSSEC tree: one ECDSA P-256 key per signed zone (RFC 6605)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import dns.dnssec
import dns.name
import dns.rdata
import dns.zone
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from tests.lab import state

_KEY_FLAGS: Final = 257  # zone key and secure entry point: RFC 5011 can follow it
_DNSKEY_TTL_S: Final = 60
_VALID_BEFORE_S: Final = 3600
_VALID_AFTER_S: Final = 30 * 86400


def _key_file(origin: str) -> Path:
    return state.directory("dns", "keys", mode=0o700) / f"{quote(origin, safe='')}.pem"


def make_key(origin: str) -> None:
    """Make the zone's key, in a file that only root reads."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    state.write_text(_key_file(origin), pem.decode(), mode=0o600)


def _key(origin: str) -> tuple[ec.EllipticCurvePrivateKey, DNSKEY]:
    private = serialization.load_pem_private_key(_key_file(origin).read_bytes(), None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{_key_file(origin)}: not an ECDSA key")
    return private, dns.dnssec.make_dnskey(private.public_key(), Algorithm.ECDSAP256SHA256, _KEY_FLAGS)


def dnskey_record(origin: str) -> str:
    """The zone's DNSKEY in master file form: for the root, a trust anchor file."""
    return f"{origin} {_DNSKEY_TTL_S} IN DNSKEY {_key(origin)[1].to_text()}\n"


def ds_record(origin: str, ttl_s: int) -> str:
    """The DS (SHA-256) that the parent publishes."""
    return f"{origin} {ttl_s} IN DS {dns.dnssec.make_ds(dns.name.from_text(origin), _key(origin)[1], 'SHA256').to_text()}\n"


def sign(origin: str, text: str) -> str:
    """The zone with DNSKEY, NSEC and RRSIG records, valid from an hour ago for 30 days."""
    zone = dns.zone.from_text(text, origin=origin, relativize=False)
    now = int(time.time())
    with zone.writer() as transaction:
        dns.dnssec.sign_zone(
            zone,
            transaction,
            keys=[_key(origin)],
            dnskey_ttl=_DNSKEY_TTL_S,
            inception=now - _VALID_BEFORE_S,
            expiration=now + _VALID_AFTER_S,
        )
    return zone.to_text(relativize=False)
