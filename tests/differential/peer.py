"""Asks open-mpic-core's checkers: requests of the Open MPIC API as a JSON list on stdin, what came of each on stdout.

Run by .venv/peer's interpreter. Its names are resolved by the resolver on 127.0.0.1 at the port given, as ours are.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import socket
import sys
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver
from open_mpic_core import CaaCheckRequest, DcvCheckRequest, MpicCaaChecker, MpicDcvChecker

LIMIT_S = 10.0


class Names:
    """`socket.getaddrinfo` by the given resolver: the system's knows of no port."""

    def __init__(self, resolver: dns.resolver.Resolver) -> None:
        self._resolver = resolver

    def getaddrinfo(self, host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        """AAAA, then A; stream sockets only."""
        try:
            addresses = [str(ipaddress.ip_address(host))]
        except ValueError:
            addresses = [record.address for rdtype in ("AAAA", "A") for record in self._records(host, rdtype)]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, host)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (one, port, 0, 0))
            if ":" in one
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in addresses
        ]

    def _records(self, host: str, rdtype: str) -> list[Any]:
        try:
            return list(self._resolver.resolve(f"{host}.", rdtype))
        except dns.exception.DNSException:
            return []


async def ask(request: dict[str, Any]) -> str:
    """`pass`, `no`, or the error that kept it from deciding."""
    body = {key: value for key, value in request.items() if key != "check_type"}
    try:
        async with asyncio.timeout(LIMIT_S):
            if request["check_type"] == "caa":
                answer = await MpicCaaChecker(["ca.example"]).check_caa(CaaCheckRequest.model_validate(body))
            else:
                answer = await MpicDcvChecker(LIMIT_S).check_dcv(DcvCheckRequest.model_validate(body))
    except Exception as error:  # what escapes is what is compared
        return type(error).__name__
    return "pass" if answer.check_passed else "no"


async def main(requests: list[dict[str, Any]]) -> list[str]:
    """What came of each, in order, one at a time: its tls-alpn-01 replaces a method of `ssl` while it runs."""
    return [await ask(request) for request in requests]


if __name__ == "__main__":
    logging.disable()
    port = int(sys.argv[1])
    plain, asynchronous = dns.resolver.Resolver(configure=False), dns.asyncresolver.Resolver(configure=False)
    for one in (plain, asynchronous):
        one.nameservers, one.port = ["127.0.0.1"], port
    setattr(dns.asyncresolver, "default_resolver", asynchronous)  # noqa: B010 -- typed as what it is at first
    setattr(socket, "getaddrinfo", Names(plain).getaddrinfo)  # noqa: B010 -- as above
    json.dump(asyncio.run(main(json.load(sys.stdin))), sys.stdout)
