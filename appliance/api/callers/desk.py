"""Where operators register and revoke callers; every change is an event of the evidence (BR 5.4.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from appliance.api.callers.gate import Refusal
from appliance.api.callers.register import (
    CallerKind,
    NameTaken,
    NoSuchCaller,
    Register,
    Registered,
    UnusableCertificate,
    pem_public_key_sha256,
)
from appliance.api.errors import HttpError, Issue, Malformed
from appliance.api.http import HttpRequest, HttpResponse, Routes, json_response
from appliance.api.json import parse_object
from appliance.coordinator.coordinator import Evidence
from appliance.errors import EvidenceUnavailable
from appliance.evidence.actor import actor_of
from appliance.evidence.record import EventRecord, EventType, utc_text

_log = logging.getLogger("mpicd")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    name: Name
    kind: Literal["api-key", "certificate"]


FormType = TypeVar("FormType", bound=_Form)


class NewCaller(_Form):
    """`POST /callers`. `certificate`: PEM, with `kind` "certificate"; the rest as in `Registered`."""

    certificate: Annotated[str, StringConstraints(max_length=16_384)] | None = None
    perspectives: Annotated[list[Annotated[str, StringConstraints(max_length=31)]], Field(max_length=64)] = []
    requests_per_s: Annotated[int, Field(ge=1, le=100_000)] | None = None
    concurrent: Annotated[int, Field(ge=1, le=4096)] | None = None


class RevokedCaller(_Form):
    """`POST /callers/revoke`."""


class Issued(msgspec.Struct, frozen=True):
    """The new caller; `key` is the API key, told this once, None for a certificate."""

    caller: Registered
    key: str | None


class Callers(msgspec.Struct, frozen=True):
    """`GET /callers`."""

    callers: tuple[Registered, ...]


class Desk:
    """`codes`: the perspectives that there are.

    Who is added is on record and on disk before it is in force. Who is revoked is so first: what could not be kept or recorded
    of it then is tried again with the next act on the register.
    """

    def __init__(
        self, register: Register, evidence: Evidence, now: Callable[[], datetime], codes: frozenset[str]
    ) -> None:
        self._register = register
        self._evidence = evidence
        self._now = now
        self._codes = codes
        self._unrecorded: list[EventRecord] = []
        self._one_at_a_time = asyncio.Lock()

    def routes(self) -> Routes:
        """For the operators' socket."""
        return {"/callers": {"GET": self._list, "POST": self._add}, "/callers/revoke": {"POST": self._revoke}}

    async def _list(self, _request: HttpRequest) -> HttpResponse:
        return json_response(Callers(self._register.entries))

    async def _add(self, request: HttpRequest) -> HttpResponse:
        form = _parsed(NewCaller, request.body)
        unknown = [code for code in form.perspectives if code not in self._codes]
        if unknown:
            raise Malformed([Issue.of(("perspectives",), f"there is no perspective {unknown[0]} here")])
        entry = Registered(
            name=form.name,
            kind=CallerKind(form.kind),
            id="",
            sha256="",
            created_at=utc_text(self._now()),
            perspectives=tuple(form.perspectives),
            requests_per_s=form.requests_per_s,
            concurrent=form.concurrent,
        )
        key = None
        if entry.kind is CallerKind.API_KEY:
            entry, key = self._register.new_key(entry)
        else:
            digest = _public_key(form.certificate)
            entry = msgspec.structs.replace(entry, id=digest[:8], sha256=digest)
        try:
            self._register.check_free(entry)
            _raise_unfinished(await self._finish_revocations())
            await self._evidence.submit(self._event(request, entry, "added"))
            self._register.add(entry)
        except NameTaken as taken:
            raise HttpError(409, f"A caller of this name or key is in force: {taken}.") from taken
        return json_response(Issued(entry, key), 201)

    async def _revoke(self, request: HttpRequest) -> HttpResponse:
        form = _parsed(RevokedCaller, request.body)
        kind = CallerKind(form.kind)
        try:
            # In force before it is kept and recorded: a full disk must not keep a stolen key alive.
            entry = self._register.revoke(form.name, kind, utc_text(self._now()))
            self._unrecorded.append(self._event(request, entry, "revoked"))
        except NoSuchCaller as error:
            gone = self._unfinished(form.name, kind)
            if gone is None:
                raise HttpError(404, f"No {form.kind} of this name is in force: {form.name}.") from error
            entry = gone
        _raise_unfinished(await self._finish_revocations())
        return json_response(Issued(entry, None))

    def _unfinished(self, name: str, kind: CallerKind) -> Registered | None:
        """The caller of this name who is revoked, where not all revocations are both on disk and on record."""
        if self._register.is_saved and not self._unrecorded:
            return None
        return next((one for one in reversed(self._register.entries) if one.name == name and one.kind is kind), None)

    async def _finish_revocations(self) -> list[str]:
        """Has those that are in force on disk and on record; what of that could not be done, in words."""
        problems = []
        async with self._one_at_a_time:
            try:
                self._register.save()
            except OSError as error:
                problems.append(f"not on disk, so that a restart would undo it: {error}")
            try:
                while self._unrecorded:
                    await self._evidence.submit(self._unrecorded[0])
                    del self._unrecorded[0]
            except EvidenceUnavailable as error:
                problems.append(f"not on record: {error}")
        return problems

    def _event(self, request: HttpRequest, entry: Registered, what: str) -> EventRecord:
        return EventRecord(
            time=utc_text(self._now()),
            type=EventType.CREDENTIAL,
            actor=actor_of(request.caller.uid),
            subject=entry.name,
            message=what,
            facts=(
                ("kind", entry.kind.value),
                ("id", entry.id),
                ("sha256", entry.sha256),
                ("perspectives", " ".join(entry.perspectives)),
            ),
        )


def _raise_unfinished(problems: list[str]) -> None:
    """Raises `HttpError` where there are any."""
    if problems:
        _log.error("a caller is revoked, but as yet %s", "; ".join(problems))
        rule = f"A revocation is in force, but as yet {'; '.join(problems)}. Once that is mended, ask again."
        raise HttpError(503, rule, reason="register")


def refused_caller(refusal: Refusal, time: str) -> EventRecord:
    """The event of somebody who was refused."""
    return EventRecord(
        time=time,
        type=EventType.REFUSED_CALLER,
        actor=actor_of(),
        subject=refusal.address,
        message=refusal.reason,
        facts=refusal.facts,
    )


def _parsed(form: type[FormType], body: bytes) -> FormType:
    try:
        return form.model_validate(parse_object(body))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise Malformed([Issue.of(detail["loc"], detail["msg"], detail["type"]) for detail in details]) from error


def _public_key(pem: str | None) -> str:
    try:
        return pem_public_key_sha256(pem or "")
    except UnusableCertificate as error:
        raise Malformed([Issue.of(("certificate",), f"a certificate in PEM is asked for: {error}")]) from error
