"""The coordinator's end: one connection to one worker, made again whenever it breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.errors import ChannelClosed
from appliance.ipc.messages import Ask, AskRound, Cancel, FromWorker, RefusedRound, SeenRound, Status
from appliance.ipc.protocol import FramedProtocol
from appliance.model.check import CaaCheck, CheckRequest, method_of
from appliance.model.health import WorkerStatus
from appliance.model.moment import moment_of
from appliance.model.observation import CaaFinding, Observation, Outcome
from appliance.model.rov import RoundRequest, RoundSeen

_decoder: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)

_FIRST_RETRY_S = 0.02
_LAST_RETRY_S = 1.0


class WrongReply(ChannelClosed):
    """A worker's reply is not one to what it was asked: another perspective, another method, or contradicting itself."""


class RoundRefused(ChannelClosed):
    """The worker did not probe, or its path broke meanwhile. The text says why."""


class WorkerChannel:
    """Asks the worker of one perspective. `status` is what the worker last said of itself, None while disconnected.

    `on_status` is called on each change of `status`; `on_fault` with a line for every rule that the worker broke (another
    user, a malformed frame, a reply that names another perspective or a request that is not in flight).
    """

    def __init__(
        self,
        path: Path,
        perspective: str,
        worker_uid: int,
        *,
        on_status: Callable[[WorkerStatus | None], None] = lambda _: None,
        on_fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._perspective = perspective
        self._worker_uid = worker_uid
        self._on_status = on_status
        self._on_fault = on_fault
        self._status: WorkerStatus | None = None
        self._protocol: _CoordinatorProtocol | None = None
        self._in_flight: dict[str, tuple[CheckRequest, asyncio.Future[Observation]]] = {}
        self._rounds: dict[str, tuple[RoundRequest, asyncio.Future[RoundSeen]]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def perspective(self) -> str:
        """The code of the perspective at the other end."""
        return self._perspective

    @property
    def status(self) -> WorkerStatus | None:
        """The worker's last status on this connection, None before it came or while disconnected."""
        return self._status

    @property
    def connected(self) -> bool:
        """Whether a question can be asked now."""
        return self._protocol is not None and self._protocol.connected

    def start(self) -> None:
        """Connects, and keeps connecting, in the background of the running loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_connected(), name=f"channel {self._perspective}")

    async def close(self) -> None:
        """Disconnects for good; what is in flight fails with `ChannelClosed`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
            self._disconnected()

    def ask(self, request: CheckRequest) -> asyncio.Future[Observation]:
        """The observation to come. Raises `ChannelClosed` at once where there is no connection; so does the future where it
        breaks, and `WrongReply` where the reply is not one to this request. Cancelling the future cancels the check.
        """
        protocol = self._protocol
        if protocol is None or not protocol.connected:
            raise ChannelClosed(f"{self._perspective}: no connection to the worker")
        if request.perspective != self._perspective or request.request_id in self._in_flight:
            raise ValueError(f"{self._perspective}: cannot ask {request.request_id} of {request.perspective}")
        future: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()
        protocol.send(Ask(request))
        self._in_flight[request.request_id] = (request, future)
        future.add_done_callback(lambda done: self.cancel(request.request_id) if done.cancelled() else None)
        return future

    def ask_round(self, request: RoundRequest) -> asyncio.Future[RoundSeen]:
        """What one round of probes saw, to come. Raises `ChannelClosed` at once where there is no connection; so does the
        future where it breaks; `RoundRefused` where the worker did not probe."""
        protocol = self._protocol
        if protocol is None or not protocol.connected:
            raise ChannelClosed(f"{self._perspective}: no connection to the worker")
        if request.perspective != self._perspective or request.request_id in self._rounds:
            raise ValueError(f"{self._perspective}: cannot ask {request.request_id} of {request.perspective}")
        future: asyncio.Future[RoundSeen] = asyncio.get_running_loop().create_future()
        protocol.send(AskRound(request))
        self._rounds[request.request_id] = (request, future)
        return future

    def cancel(self, request_id: str) -> None:
        """Nobody waits any more: the worker answers at once with what it saw so far. Unknown requests are ignored."""
        if self._protocol is not None and request_id in self._in_flight:
            self._protocol.send(Cancel(request_id))

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                _, protocol = await loop.create_unix_connection(lambda: _CoordinatorProtocol(self), str(self._path))
            except OSError:
                delay_s = min(delay_s * 2, _LAST_RETRY_S)
            except Exception as error:  # whatever it is, this perspective must not stay away for good
                self._on_fault(f"{self._perspective}: {type(error).__name__}: {error}")
                delay_s = _LAST_RETRY_S
            else:
                # Only a worker that spoke earns a quick retry; one that drops us at once does not.
                delay_s = _FIRST_RETRY_S if await self._converse(protocol) else min(delay_s * 2, _LAST_RETRY_S)
            await asyncio.sleep(delay_s)

    async def _converse(self, protocol: _CoordinatorProtocol) -> bool:
        """Uses one connection until it ends; whether the worker said anything on it."""
        try:
            await protocol.ended
        finally:
            self._disconnected()
        return protocol.heard

    def _received(self, message: FromWorker) -> str | None:
        """Takes one message of the worker; the rule that it broke, or None."""
        if isinstance(message, Status):
            if message.status.perspective != self._perspective:
                return f"a status of perspective {message.status.perspective}"
            self._set_status(message.status)
            return None
        if isinstance(message, SeenRound | RefusedRound):
            return self._received_round(message)
        observation = message.observation
        asked = self._in_flight.pop(observation.request_id, None)
        if asked is None:
            return f"a reply to request {observation.request_id}, which is not in flight"
        request, future = asked
        wrong = mismatch(request, observation)
        if future.done():
            return wrong
        if wrong is None:
            future.set_result(observation)
        else:
            future.set_exception(WrongReply(f"{self._perspective}: {wrong}"))
        return wrong

    def _received_round(self, message: SeenRound | RefusedRound) -> str | None:
        told: RoundSeen | RefusedRound = message.seen if isinstance(message, SeenRound) else message
        request, future = self._rounds.pop(told.request_id, (None, None))
        if request is None or future is None:
            return f"a reply to round {told.request_id}, which is not in flight"
        wrong = None
        if told.perspective != request.perspective:
            wrong = f"a reply to round {told.request_id} that names perspective {told.perspective}"
        elif isinstance(told, RoundSeen) and not _answers_round(request, told):
            wrong = f"a reply to round {told.request_id} of other probes than asked"
        if future.done():
            return wrong
        if wrong is not None:
            future.set_exception(WrongReply(f"{self._perspective}: {wrong}"))
        elif isinstance(told, RefusedRound):
            future.set_exception(RoundRefused(f"{self._perspective}: {told.reason[:300]}"))
        else:
            future.set_result(told)
        return wrong

    def _disconnected(self) -> None:
        if self._protocol is not None:
            self._protocol.abort()
            self._protocol = None
        lost = ChannelClosed(f"{self._perspective}: the connection to the worker broke")
        in_flight, self._in_flight = self._in_flight, {}
        for _, future in in_flight.values():
            if not future.done():
                future.set_exception(lost)
        rounds, self._rounds = self._rounds, {}
        for _, round_future in rounds.values():
            if not round_future.done():
                round_future.set_exception(lost)
        self._set_status(None)

    def _set_status(self, status: WorkerStatus | None) -> None:
        if status != self._status:
            self._status = status
            self._on_status(status)


class _CoordinatorProtocol(FramedProtocol[FromWorker]):
    def __init__(self, channel: WorkerChannel) -> None:
        super().__init__(_decoder)
        self._channel = channel
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = False

    def admit(self, uid: int) -> str | None:
        expected = self._channel._worker_uid
        return None if uid == expected else f"the worker's socket is held by user id {uid}, not {expected}"

    def opened(self) -> None:
        self._channel._protocol = self

    def received(self, message: FromWorker) -> None:
        self.heard = True
        wrong = self._channel._received(message)
        if wrong is not None:
            # Which request it should have answered cannot be known, so all that are in flight fail with the connection.
            self.fail(wrong)

    def broke(self, text: str) -> None:
        self._channel._on_fault(f"{self._channel.perspective}: {text}")

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if not self.ended.done():
            self.ended.set_result(None)


def _answers_round(request: RoundRequest, seen: RoundSeen) -> bool:
    """Whether `seen` has the probes that `request` asks for, over its IP version."""
    paired = request.valid is not None
    return (
        seen.version == request.version and (seen.before is not None) is paired and (seen.after is not None) is paired
    )


def mismatch(request: CheckRequest, observation: Observation) -> str | None:
    """How `observation` fails to be a reply to `request`, or None."""
    if observation.perspective != request.perspective:
        return f"a reply to request {request.request_id} that names perspective {observation.perspective}"
    if observation.method is not method_of(request.check):
        return f"a reply to request {request.request_id} that names method {observation.method}"
    if moment_of(observation.started_at) is None:
        return f"a reply to request {request.request_id} whose started_at is no RFC 3339 time"
    if observation.corroborates != (observation.outcome is Outcome.MATCH):
        return f"a reply to request {request.request_id} whose outcome and corroborates disagree"
    if observation.corroborates and observation.caa is not None and not _permits(request, observation.caa):
        return f"a reply to request {request.request_id} that corroborates, and whose CAA finding does not permit"
    return None


def _permits(request: CheckRequest, finding: CaaFinding) -> bool:
    """Whether a finding can be that of a match: it permits, and a failure on the way may be permission and was asked to be."""
    asked = isinstance(request.check, CaaCheck) and request.check.allow_lookup_failure
    return finding.permitted and all(asked and failure.permits for failure in finding.failures)
