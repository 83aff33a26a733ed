"""The channel between coordinator and workers: framed JSON on a pathname Unix socket, peer credentials checked."""

from appliance.ipc.channel import WorkerChannel
from appliance.ipc.framing import BadFrame
from appliance.ipc.server import Connection, Server, serve

__all__ = ["BadFrame", "Connection", "Server", "WorkerChannel", "serve"]
