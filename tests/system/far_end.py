"""The Internet behind a perspective, in one process: anchors and targets over HTTP, and an ear at a forbidden address.

HTTPS is served with the key and certificate in DIRECTORY/server.pem.

`python -m tests.system.far_end DIRECTORY LISTEN... ` appends one line per request to DIRECTORY/requests. A path below
`/.well-known/acme-challenge/` is answered with DIRECTORY/answer, as soon as that file is there; any other with the address
that is seen. Datagrams to port 53 of an address after `--ear` are noted and not answered.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

CHALLENGE = "/.well-known/acme-challenge/"


class FarEnd:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def note(self, line: str) -> None:
        with (self.directory / "requests").open("a") as file:
            file.write(line + "\n")

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        address = writer.get_extra_info("peername")[0]
        self.note(f"http {address} {request}")
        answer = address
        if request.startswith(CHALLENGE):
            while not (self.directory / "answer").exists():  # noqa: ASYNC110 -- another process makes it
                await asyncio.sleep(0.02)
            answer = (self.directory / "answer").read_text()
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())
        writer.close()


class Ear(asyncio.DatagramProtocol):
    def __init__(self, far_end: FarEnd) -> None:
        self.far_end = far_end

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.far_end.note(f"ear {addr[0]} {data.hex()}")


async def main(directory: Path, addresses: list[str], ears: list[str]) -> None:
    far_end = FarEnd(directory)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "server.pem")
    for address in addresses:
        await asyncio.start_server(far_end.http, address, 80)
        await asyncio.start_server(far_end.http, address, 443, ssl=tls)
    for address in ears:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: Ear(far_end), (address, 53))
    (directory / "listening").touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    split = sys.argv.index("--ear")
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:split], sys.argv[split + 1 :]))
