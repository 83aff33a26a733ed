"""The workers of all perspectives: their channels, and whether each can be asked now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from appliance.coordinator.gather import Answer
from appliance.coordinator.tunnels import TunnelWatch
from appliance.evidence.record import Attempt
from appliance.ipc import WorkerChannel
from appliance.model.check import CheckRequest
from appliance.model.health import WorkerStatus
from appliance.model.observation import Outcome
from appliance.model.rov import RoundRequest, RoundSeen
from appliance.model.status import LastCheck
from appliance.model.tunnel import TunnelState, TunnelStatus


class Perspectives:
    """Every worker of the appliance, the primary's among them where it is local. Keyed by perspective code."""

    def __init__(self, channels: Mapping[str, WorkerChannel], tunnels: TunnelWatch) -> None:
        self._channels = channels
        self._tunnels = tunnels
        self.last: dict[str, LastCheck] = {}
        self.observed: dict[tuple[str, Outcome], int] = {}

    def start(self) -> None:
        """Connects to every worker in the background."""
        for channel in self._channels.values():
            channel.start()

    async def close(self) -> None:
        """Disconnects from every worker."""
        for channel in self._channels.values():
            await channel.close()

    def refresh(self) -> None:
        """Reads the tunnels' state again, where it changed."""
        self._tunnels.refresh()

    def down(self, code: str) -> str | None:
        """Why `code` cannot be asked now, in words; None where it can. Call `refresh` first."""
        tunnel = self._tunnels.of(code)
        if tunnel is not None and tunnel.state is TunnelState.DOWN:
            return f"tunnel down: {tunnel.reason}"
        channel = self._channels[code]
        status = channel.status
        if not channel.connected:
            return "no connection to the worker"
        if status is None:
            return "the worker has not said that it is ready"
        if not status.ready:
            return f"worker not ready: {'; '.join(status.reasons)}"
        if tunnel is not None and tunnel.netns_inode and status.netns_inode != tunnel.netns_inode:
            return "the worker is in another network namespace than the tunnel"
        return None

    def tunnel(self, code: str) -> TunnelStatus | None:
        """What the tunnel daemon says of `code`."""
        return self._tunnels.of(code)

    def worker(self, code: str) -> WorkerStatus | None:
        """What the worker of `code` says of itself; None where there is no connection to it, or no such worker."""
        channel = self._channels.get(code)
        return None if channel is None else channel.status

    @property
    def report_problem(self) -> str | None:
        """Why the tunnel daemon's report cannot be read."""
        return self._tunnels.problem

    @property
    def report_updated_s(self) -> int:
        """When the tunnel daemon last published, UNIX seconds; 0 = never."""
        return self._tunnels.updated_s

    def ask(self, request: CheckRequest) -> Answer:
        """The observation to come. Raises `ChannelClosed` where the connection went away since `down` was asked."""
        return self._channels[request.perspective].ask(request)

    def ask_round(self, request: RoundRequest) -> asyncio.Future[RoundSeen]:
        """What one round of probes saw, to come. Raises `ChannelClosed` where there is no connection."""
        return self._channels[request.perspective].ask_round(request)

    def cancel(self, code: str, request_id: str) -> None:
        """Nobody waits any more for this check."""
        self._channels[code].cancel(request_id)

    def remember(self, identifier: str, attempts: Iterable[Attempt]) -> None:
        """Keeps the last outcome of each perspective, and counts all."""
        for attempt in attempts:
            seen = attempt.observation
            key = (attempt.perspective, seen.outcome)
            self.observed[key] = self.observed.get(key, 0) + 1
            self.last[attempt.perspective] = LastCheck(
                seen.started_at, seen.method, identifier, seen.outcome, seen.elapsed_us
            )
