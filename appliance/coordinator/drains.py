"""Perspectives that an operator took out of service: recorded acts that outlive a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from appliance.coordinator.coordinator import Coordinator
from appliance.coordinator.records import drain_event, key_rotation_event, perspective_set_event
from appliance.errors import UNDECODABLE, ApplianceError, ConfigError
from appliance.evidence.record import Actor, EventType, PerspectiveSetRef, utc_text
from appliance.linux.files import write_atomically
from appliance.model.status import Drain
from appliance.policy.drain import objections

_MAX_BYTES = 1 << 16
_decoder: msgspec.json.Decoder[dict[str, Drain]] = msgspec.json.Decoder(dict[str, Drain])


class DrainRefused(ApplianceError):
    """The rest could not meet the BRs, or there is no such perspective. `objections`: each in words."""

    def __init__(self, objections: list[str]) -> None:
        super().__init__("; ".join(objections))
        self.objections = objections


class DrainStore:
    """The file at `path`: who is drained, by perspective code. Raises `ConfigError` where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self.drained = _decoder.decode(file.read(_MAX_BYTES))
        except FileNotFoundError:
            self.drained = {}
        except (OSError, *UNDECODABLE) as error:
            raise ConfigError([f"{path}: {error}"]) from error

    def put(self, drained: dict[str, Drain]) -> None:
        """Makes `drained` durable. Raises `OSError`."""
        write_atomically(self._path, msgspec.json.encode(drained), mode=0o600, durable=True)
        self.drained = drained


class Drains:
    """The operator's acts on `coordinator`, one after the other."""

    def __init__(self, coordinator: Coordinator, store: DrainStore) -> None:
        self._coordinator = coordinator
        self._store = store
        self._one_at_a_time = asyncio.Lock()

    def of(self, code: str) -> Drain | None:
        """Who drained `code`, and since when; None where it is in service."""
        return self._store.drained.get(code)

    async def drain(self, code: str, actor: Actor) -> bool:
        """Takes `code` out of service; False where it already was. Raises `DrainRefused`, `EvidenceUnavailable`, `OSError`."""
        async with self._one_at_a_time:
            drained = self._store.drained
            if code in drained:
                return False
            found = objections(self._coordinator.configured, drained, code, self._coordinator.today())
            if found:
                raise DrainRefused(found)
            act = Drain(utc_text(self._coordinator.clock.now()), actor.uid, actor.login)
            await self._enact(EventType.DRAIN, code, actor, drained | {code: act})
            return True

    async def undrain(self, code: str, actor: Actor) -> bool:
        """Takes `code` into service again; False where it was. Raises what `drain` does, `DrainRefused` for an unknown code."""
        async with self._one_at_a_time:
            configured = self._coordinator.configured
            drained = self._store.drained
            if code not in drained:
                if code not in {site.code for site in (configured.primary, *configured.remotes)}:
                    raise DrainRefused(objections(configured, drained, code, self._coordinator.today()))
                return False
            rest = {other: act for other, act in drained.items() if other != code}
            await self._enact(EventType.RESUME, code, actor, rest)
            return True

    async def note_keys(self, code: str, facts: dict[str, str], actor: Actor) -> None:
        """Records a step of a key rotation. Raises `DrainRefused` for a code that is none's, `EvidenceUnavailable`."""
        coordinator = self._coordinator
        if code not in {site.code for site in coordinator.configured.remotes}:
            raise DrainRefused([f"{code} is no remote perspective"])
        time = utc_text(coordinator.clock.now())
        await coordinator.evidence.submit(key_rotation_event(actor, code, sorted(facts.items()), time=time))

    async def _enact(self, kind: EventType, code: str, actor: Actor, drained: dict[str, Drain]) -> None:
        """On record first, then kept, then in force: what is decided with a set has that set on record."""
        coordinator = self._coordinator
        time = utc_text(coordinator.clock.now())
        fleet = coordinator.configured.without(drained)
        await coordinator.evidence.submit(drain_event(kind, code, actor, drained, time=time))
        receipt = await coordinator.evidence.submit(perspective_set_event(fleet, actor, time=time))
        self._store.put(drained)
        coordinator.put_in_force(fleet, PerspectiveSetRef(receipt.seq, receipt.hash))
