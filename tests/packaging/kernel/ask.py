"""Runs in the emulated machine, as mpicd's user and with the package's Python: asks the worker, as mpicd does.

`ask.py CODE` waits until the worker is ready and the egress node has told how it is; `ask.py CODE METHOD` asks once, in
whatever state it is. Prints the worker's status, and the observation.
"""

from __future__ import annotations

import asyncio
import json
import pwd
import sys
from pathlib import Path

import msgspec

from appliance.ipc import WorkerChannel
from appliance.model.check import AcmeHttp01Check, AnyCheck, CaaCheck, CertificateType, CheckRequest
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import Observation

PLAN = json.loads(Path("/srv/plan.json").read_text())
DEADLINE_MS = 9500
READY_S = 900
CHECKS: dict[str, AnyCheck] = {
    "caa": CaaCheck(CertificateType.TLS_SERVER, ("ca.example",)),
    "acme-http-01": AcmeHttp01Check(PLAN["token"], PLAN["key_authorization"]),
}


async def main(code: str, method: str | None) -> None:
    socket = Path(f"/run/mpic/workers/{code}/worker.sock")
    channel = WorkerChannel(
        socket, code, pwd.getpwnam("mpic-perspective").pw_uid, on_fault=lambda text: print(text, file=sys.stderr)
    )
    channel.start()
    observation: Observation | None = None
    async with asyncio.timeout(READY_S):
        while (status := channel.status) is None or (method is None and not (status.ready and status.egress)):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        if method is not None:
            identifier = Identifier(IdentifierType.DNS, PLAN["name"], False, PLAN["name"])
            observation = await channel.ask(CheckRequest("request", code, identifier, CHECKS[method], DEADLINE_MS))
    sys.stdout.write(msgspec.json.encode({"status": channel.status, "observation": observation}).decode())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
