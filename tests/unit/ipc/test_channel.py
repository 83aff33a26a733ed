"""The channel between coordinator and worker over a real socket file; no other process, no network."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from appliance.errors import ChannelClosed
from appliance.ipc import Connection, Server, WorkerChannel, serve
from appliance.ipc.channel import WrongReply
from appliance.ipc.framing import encode
from appliance.ipc.messages import Ask, Cancel, Seen, Status, ToWorker
from appliance.ipc.server import SocketInUse
from appliance.model.check import AcmeDns01Check, CheckRequest, Method
from appliance.model.health import WorkerStatus
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import CaaFinding, LookupFailure, Observation, Outcome

UID = os.getuid()
LIMIT_S = 10.0


def _request(number: int, perspective: str = "ams") -> CheckRequest:
    return CheckRequest(
        request_id=f"r{number}",
        perspective=perspective,
        identifier=Identifier(IdentifierType.DNS, "example.org", wildcard=False, requested="example.org"),
        check=AcmeDns01Check(key_authorization_hash="x"),
        deadline_ms=5000,
    )


def _observation(request: CheckRequest, **changes: object) -> Observation:
    made = Observation(
        request_id=request.request_id,
        perspective=request.perspective,
        method=Method.ACME_DNS_01,
        outcome=Outcome.MATCH,
        corroborates=True,
        started_at="2026-01-01T00:00:00.000000Z",
        elapsed_us=1,
    )
    return msgspec.structs.replace(made, **changes)


def _status(*, ready: bool = True) -> WorkerStatus:
    return WorkerStatus("ams", ready, () if ready else ("down",), (), None, None, 1)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 -- the state is another object's
            await asyncio.sleep(0.002)


class _Worker:
    """A worker that answers as `reply` says and remembers what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[ToWorker] = []
        self.faults: list[str] = []
        self.connections: list[Connection] = []
        self.reply: Callable[[Connection, ToWorker], None] = self.corroborate
        self.server: Server | None = None

    async def start(self, allowed_uid: int = UID) -> None:
        self.server = await serve(
            self.path, {allowed_uid}, self._told, on_connect=self._opened, on_fault=self.faults.append
        )

    def corroborate(self, connection: Connection, message: ToWorker) -> None:
        if isinstance(message, Ask):
            connection.send(Seen(_observation(message.request)))

    def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    def _opened(self, connection: Connection) -> None:
        self.connections.append(connection)
        connection.send(Status(_status()))

    def _told(self, connection: Connection, message: ToWorker) -> None:
        self.heard.append(message)
        self.reply(connection, message)


class _Coordinator:
    def __init__(self, path: Path, worker_uid: int = UID) -> None:
        self.faults: list[str] = []
        self.statuses: list[WorkerStatus | None] = []
        self.channel = WorkerChannel(
            path, "ams", worker_uid, on_status=self.statuses.append, on_fault=self.faults.append
        )

    async def connected(self) -> WorkerChannel:
        self.channel.start()
        await _until(lambda: self.channel.status is not None)
        return self.channel


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[_Worker]:
    made = _Worker(tmp_path / "worker.sock")
    await made.start()
    yield made
    made.stop()
    await asyncio.sleep(0)


@pytest.fixture
async def coordinator(worker: _Worker) -> AsyncIterator[_Coordinator]:
    made = _Coordinator(worker.path)
    yield made
    await made.channel.close()


async def test_many_requests_in_flight_are_answered_out_of_order(worker: _Worker, coordinator: _Coordinator) -> None:
    channel = await coordinator.connected()
    worker.reply = lambda _connection, _message: None
    futures = [channel.ask(_request(number)) for number in range(500)]
    await _until(lambda: len(worker.heard) == 500)
    for message in reversed(worker.heard):
        assert isinstance(message, Ask)
        worker.connections[0].send(Seen(_observation(message.request)))
    observations = await asyncio.wait_for(asyncio.gather(*futures), LIMIT_S)
    assert [o.request_id for o in observations] == [f"r{number}" for number in range(500)]
    assert coordinator.faults == []


async def test_status_is_pushed_at_connect_and_on_change(worker: _Worker, coordinator: _Coordinator) -> None:
    channel = await coordinator.connected()
    assert worker.server is not None
    worker.server.broadcast(Status(_status(ready=False)))
    worker.server.broadcast(Status(_status(ready=False)))
    worker.server.broadcast(Status(_status()))
    await _until(lambda: len(coordinator.statuses) >= 3)
    assert [s.ready for s in coordinator.statuses if s] == [True, False, True]
    worker.stop()
    await _until(lambda: channel.status is None)
    assert coordinator.statuses[-1] is None


async def test_without_a_worker_asking_fails_at_once(tmp_path: Path) -> None:
    channel = WorkerChannel(tmp_path / "none.sock", "ams", UID)
    channel.start()
    with pytest.raises(ChannelClosed):
        channel.ask(_request(1))
    await channel.close()


async def test_a_break_fails_what_is_in_flight_and_the_channel_comes_back(
    worker: _Worker, coordinator: _Coordinator
) -> None:
    channel = await coordinator.connected()
    worker.reply = lambda _connection, _message: None
    future = channel.ask(_request(1))
    await _until(lambda: len(worker.heard) == 1)
    worker.stop()
    with pytest.raises(ChannelClosed):
        await asyncio.wait_for(future, LIMIT_S)
    with pytest.raises(ChannelClosed):
        channel.ask(_request(2))
    worker.reply = worker.corroborate
    await worker.start()
    await _until(lambda: channel.status is not None)
    assert (await asyncio.wait_for(channel.ask(_request(3)), LIMIT_S)).request_id == "r3"


SHOWN = LookupFailure("n.example", True, "example", True, "shown, and yet not asked for")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"perspective": "nyc"}, "names perspective nyc"),
        ({"method": Method.CAA}, "names method caa"),
        ({"outcome": Outcome.MISMATCH}, "disagree"),
        ({"caa": CaaFinding(False, None, (), "forbidden")}, "does not permit"),
        ({"caa": CaaFinding(True, None, (), "", lookup_failure=SHOWN)}, "does not permit"),
    ],
)
async def test_a_reply_of_something_else_is_a_fault_and_never_accepted(
    worker: _Worker, coordinator: _Coordinator, changes: dict[str, object], fault: str
) -> None:
    channel = await coordinator.connected()

    def lie(connection: Connection, message: ToWorker) -> None:
        if isinstance(message, Ask):
            connection.send(Seen(_observation(message.request, **changes)))

    worker.reply = lie
    with pytest.raises(WrongReply, match=fault):
        await asyncio.wait_for(channel.ask(_request(1)), LIMIT_S)
    assert len(coordinator.faults) == 1
    assert fault in coordinator.faults[0]


async def test_a_reply_to_an_unknown_request_fails_all_in_flight(worker: _Worker, coordinator: _Coordinator) -> None:
    channel = await coordinator.connected()

    def misname(connection: Connection, message: ToWorker) -> None:
        if isinstance(message, Ask):
            connection.send(Seen(_observation(message.request, request_id="other")))

    worker.reply = misname
    with pytest.raises(ChannelClosed):
        await asyncio.wait_for(channel.ask(_request(1)), LIMIT_S)
    assert "other, which is not in flight" in coordinator.faults[0]


async def test_a_reply_given_twice_is_a_fault(worker: _Worker, coordinator: _Coordinator) -> None:
    channel = await coordinator.connected()

    def repeat(connection: Connection, message: ToWorker) -> None:
        if isinstance(message, Ask):
            connection.send(Seen(_observation(message.request)))
            connection.send(Seen(_observation(message.request)))

    worker.reply = repeat
    await asyncio.wait_for(channel.ask(_request(1)), LIMIT_S)
    await _until(lambda: bool(coordinator.faults))


async def test_cancel_reaches_the_worker_and_its_answer_is_taken(worker: _Worker, coordinator: _Coordinator) -> None:
    channel = await coordinator.connected()

    def on_cancel(connection: Connection, message: ToWorker) -> None:
        if isinstance(message, Cancel):
            connection.send(Seen(_observation(_request(1), outcome=Outcome.ERROR, corroborates=False)))

    worker.reply = on_cancel
    future = channel.ask(_request(1))
    channel.cancel("r1")
    channel.cancel("unknown")
    assert (await asyncio.wait_for(future, LIMIT_S)).outcome is Outcome.ERROR
    assert [type(message) for message in worker.heard] == [Ask, Cancel]


async def test_a_dropped_future_cancels_the_check_and_its_late_reply_is_no_fault(
    worker: _Worker, coordinator: _Coordinator
) -> None:
    channel = await coordinator.connected()
    worker.reply = lambda _connection, _message: None
    future = channel.ask(_request(1))
    future.cancel()
    await _until(lambda: len(worker.heard) == 2)
    assert worker.heard[1] == Cancel("r1")
    worker.connections[0].send(Seen(_observation(_request(1))))
    worker.reply = worker.corroborate
    await asyncio.wait_for(channel.ask(_request(2)), LIMIT_S)
    assert coordinator.faults == []


async def test_only_the_allowed_user_is_admitted(tmp_path: Path) -> None:
    worker = _Worker(tmp_path / "worker.sock")
    await worker.start(allowed_uid=UID + 1)
    coordinator = _Coordinator(worker.path)
    coordinator.channel.start()
    await _until(lambda: bool(worker.faults))
    assert str(UID) in worker.faults[0]
    assert worker.connections == []
    with pytest.raises(ChannelClosed):
        coordinator.channel.ask(_request(1))
    await coordinator.channel.close()
    worker.stop()


async def test_a_worker_of_another_user_is_not_asked(worker: _Worker) -> None:
    coordinator = _Coordinator(worker.path, worker_uid=UID + 1)
    coordinator.channel.start()
    await _until(lambda: bool(coordinator.faults))
    assert f"not {UID + 1}" in coordinator.faults[0]
    assert coordinator.channel.status is None
    await coordinator.channel.close()


@pytest.mark.parametrize(
    "sent", [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\2{}", b"\0\0\0\3abc", encode(Status(_status()))]
)
async def test_malformed_frames_end_the_connection(worker: _Worker, sent: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(worker.path))
    writer.write(sent)
    async with asyncio.timeout(LIMIT_S):
        await reader.read()
    assert len(worker.faults) == 1
    assert "malformed frame" in worker.faults[0]
    assert worker.heard == []
    writer.close()


async def test_a_malformed_reply_breaks_the_channel(tmp_path: Path) -> None:
    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.write(b"\0\0\0\2[]")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_unix_server(garble, str(tmp_path / "worker.sock"))
    coordinator = _Coordinator(tmp_path / "worker.sock")
    coordinator.channel.start()
    await _until(lambda: coordinator.channel.connected)
    with pytest.raises(ChannelClosed):
        await asyncio.wait_for(coordinator.channel.ask(_request(1)), LIMIT_S)
    assert "malformed frame" in coordinator.faults[0]
    await coordinator.channel.close()
    listener.close()
    await listener.wait_closed()


async def test_the_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "worker.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    worker = _Worker(path)
    await worker.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with pytest.raises(SocketInUse):
        await _Worker(path).start()
    worker.stop()
    assert not path.exists()
    path.write_text("not a socket")
    with pytest.raises(SocketInUse):
        await worker.start()
