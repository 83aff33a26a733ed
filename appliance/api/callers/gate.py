"""Every request passes here: who asks, whether it may, and whether it asks too much."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.api.callers.limits import Limiter
from appliance.api.callers.register import Register, Registered
from appliance.api.errors import HttpError
from appliance.config import CallerLimits

_CHALLENGE = ((b"www-authenticate", b'Bearer realm="mpic"'),)
# Whoever tries again and again gets one record in this time, and must not fill the store of evidence.
_NOTE_AGAIN_S = 60.0
_MOST_NOTED = 1024
# What is every caller's, however restricted.
_OWN_PATHS = frozenset({"/evidence"})


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. On a Unix socket `uid`, elsewhere `address`; with a client certificate the SHA-256 of
    its public key."""

    uid: int | None = None
    address: str | None = None
    public_key_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `uid`: on a Unix socket. `perspectives`: all that it may use, where not empty, is the check of these."""

    name: str
    limits: CallerLimits
    uid: int | None = None
    perspectives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody who is no caller. `facts`: what is known, as names and values."""

    address: str
    reason: str
    facts: tuple[tuple[str, str], ...] = ()


class Gate:
    """`note` makes the evidence of those who were refused. Nobody on TCP is served without being in `register`.

    `refusals` counts what was refused, by reason, strangers and callers alike.
    """

    def __init__(
        self,
        register: Register | None,
        limits: CallerLimits,
        note: Callable[[Refusal], None],
        refusals: Counter[str] | None = None,
    ) -> None:
        self.refusals: Counter[str] = Counter() if refusals is None else refusals
        self._register = register
        self._limits = limits
        self._note = note
        self._limiter = Limiter(lambda: asyncio.get_running_loop().time())
        self._noted: dict[tuple[str, str], float] = {}

    def identify(self, peer: Peer, headers: Mapping[bytes, bytes]) -> Caller:
        """The caller at `peer`. Raises `HttpError` 401 or 403 where it is none, which leaves a record."""
        if peer.uid is not None:
            return Caller(f"unix uid {peer.uid}", self._limits, peer.uid)
        if peer.public_key_sha256 is not None:
            entry = None if self._register is None else self._register.by_public_key(peer.public_key_sha256)
            if entry is None:
                self.refused(peer, "a client certificate that is not registered, or revoked")
                raise HttpError(
                    403, "This certificate is not registered, or revoked.", headers=((b"connection", b"close"),)
                )
            return self._caller(entry)
        key = _api_key(headers)
        if key is None:
            self.refused(peer, "no API key")
            raise HttpError(401, "An API key is asked for, in x-api-key or as a Bearer token.", headers=_CHALLENGE)
        entry = None if self._register is None else self._register.by_key(key)
        if entry is None:
            self.refused(peer, "an API key that is unknown, or revoked")
            raise HttpError(401, "The API key is unknown or revoked.", headers=_CHALLENGE)
        return self._caller(entry)

    def admit(self, caller: Caller) -> contextlib.AbstractContextManager[None]:
        """One request of `caller`, while it lasts. Raises `HttpError` 429."""
        return self._limiter.one_request(caller.name, caller.limits)

    @staticmethod
    def check_path(caller: Caller, path: str) -> None:
        """Raises `HttpError` 403 for a path outside what `caller` is restricted to."""
        if not caller.perspectives:
            return
        allowed = {f"/perspectives/{code}{tail}" for code in caller.perspectives for tail in ("", "/check")}
        if path not in allowed | _OWN_PATHS:
            raise HttpError(403, "This caller may use the check of its perspectives, and its own evidence, only.")

    def known(self, public_key_sha256: str) -> bool:
        """Whether a client certificate with this public key is registered and not revoked."""
        return self._register is not None and self._register.by_public_key(public_key_sha256) is not None

    def refused(self, peer: Peer, reason: str) -> None:
        """Makes a record, unless there is one of the same address and reason of the last minute."""
        address, now_s = peer.address or "", asyncio.get_running_loop().time()
        if now_s - self._noted.get((address, reason), -_NOTE_AGAIN_S) < _NOTE_AGAIN_S:
            return
        if len(self._noted) >= _MOST_NOTED:
            self._noted = {key: at_s for key, at_s in self._noted.items() if now_s - at_s < _NOTE_AGAIN_S}
            if len(self._noted) >= _MOST_NOTED:
                return
        self._noted[address, reason] = now_s
        digest = peer.public_key_sha256
        self._note(Refusal(address, reason, () if digest is None else (("public_key_sha256", digest),)))

    def _caller(self, entry: Registered) -> Caller:
        limits = self._limits
        if entry.requests_per_s is not None or entry.concurrent is not None:
            rate = entry.requests_per_s or limits.requests_per_s
            limits = CallerLimits(
                requests_per_s=rate, burst=min(rate, limits.burst), concurrent=entry.concurrent or limits.concurrent
            )
        return Caller(f"{entry.kind} {entry.name}", limits, perspectives=entry.perspectives)


def _api_key(headers: Mapping[bytes, bytes]) -> str | None:
    given = headers.get(b"x-api-key")
    if given is None:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else None
    return given.decode("latin-1") if given else None
