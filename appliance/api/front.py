"""All doors of one `mpicd`: the CA's socket, the operators' one, and TCP, with the register of those who may come by TCP."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from appliance.api.callers.desk import Desk, refused_caller
from appliance.api.callers.gate import Gate, Refusal
from appliance.api.callers.register import Register
from appliance.api.http import Application, Routes
from appliance.api.server import HttpServer
from appliance.api.tls import server_context
from appliance.config import Settings
from appliance.coordinator.coordinator import Evidence
from appliance.evidence.record import utc_text

_log = logging.getLogger("mpicd")

# Beyond what the limit of requests needs: operators, health checks, and refusals in progress.
_SPARE_CONNECTIONS = 256
_OPEN_ON_TCP = frozenset({"/healthz"})


class Front:
    """Not to be used again after `close`. `codes`: the perspectives that callers can be restricted to.

    `refusals` counts, by reason, what is refused at any of the doors.
    """

    def __init__(
        self,
        settings: Settings,
        evidence: Evidence,
        now: Callable[[], datetime],
        codes: frozenset[str],
        refusals: Counter[str],
    ) -> None:
        self._settings = settings
        self._evidence = evidence
        self._now = now
        self._register = Register(settings.coordinator_directory / "callers.json")
        self._desk = Desk(self._register, evidence, now, codes)
        self._gate = Gate(self._register, settings.api.caller, self._note, refusals)
        connections = settings.api.concurrent_requests + _SPARE_CONNECTIONS
        # Strangers who hold connections on TCP must not keep the CA off its socket.
        self._unix, self._tcp = HttpServer(connections), HttpServer(connections)
        # Nor must callers keep the operators off theirs, who may want to revoke one.
        self._operators = HttpServer(connections)

    async def open(self, callers: Routes, operators: Routes) -> None:
        """Serves `callers` on the CA's socket and on TCP, `operators` on theirs. Raises `ConfigError`, `NoSuchUser`."""
        api, users = self._settings.api, self._settings.users
        contexts = [server_context(listener, f"api.tcp.{index}") for index, listener in enumerate(api.tcp)]
        await self._unix.listen(api.socket, users.api_group, Application(callers, self._gate))
        with_desk = {**operators, **self._desk.routes()}
        await self._operators.listen(api.operator_socket, users.operator_group, Application(with_desk, self._gate))
        application = Application(callers, self._gate, _OPEN_ON_TCP)
        for listener, tls in zip(api.tcp, contexts, strict=True):
            await self._tcp.listen_tcp(str(listener.address), listener.port, tls, self._gate, application)

    async def close(self, within_s: float) -> None:
        """Accepts nobody more, and finishes what was accepted."""
        await asyncio.gather(*(server.stop(within_s) for server in (self._tcp, self._unix, self._operators)))
        try:
            # What a full disk did not take of a revocation, it may take by now.
            self._register.save()
        except OSError as error:
            _log.error("a revocation is not on disk, so that a restart undoes it: %s", error)

    def _note(self, refusal: Refusal) -> None:
        _log.warning("refused %s: %s", refusal.address, refusal.reason)
        self._evidence.submit(refused_caller(refusal, utc_text(self._now()))).add_done_callback(
            lambda done: _log.error("an event was not recorded") if not done.cancelled() and done.exception() else None
        )
