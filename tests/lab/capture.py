"""Packet captures by tcpdump that lose nothing at their ends, and the DNS questions in them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import dns.exception
import dns.message
import dns.rdatatype

from tests.lab import pcap, processes, state
from tests.lab.pcap import Packet
from tests.lab.wait import NotReachedError, wait_until

_LIMIT_S: Final = 10.0
# IEEE 802 local experimental EtherType 1. A frame of it that is seen in the file shows that all before it is there.
_MARK_TYPE: Final = 0x88B5
_SEND_MARK: Final = """\
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0x88B5))
s.send(b"\\xff" * 6 + b"\\x02" + b"\\0" * 5 + (0x88B5).to_bytes(2, "big") + sys.argv[2].encode().ljust(46, b"\\0"))
"""
_EVERY_INTERFACE: Final = "any"


@dataclass(frozen=True, slots=True)
class Question:
    """One DNS query that arrived: who asked, at which of the server's addresses, for what."""

    source: str
    destination: str
    name: str
    rdtype: str


class Capture:
    """A running tcpdump on one Ethernet interface of a namespace, or on "any"."""

    def __init__(self, namespace: str, interface: str, filter_expression: str = "") -> None:
        self._namespace = namespace
        self._marked_interface = "lo" if interface == _EVERY_INTERFACE else interface
        identity = uuid.uuid4().hex
        self.file: Path = state.directory("captures") / f"{namespace}-{interface}-{identity[:8]}.pcap"
        self._log = self.file.with_suffix(".log")
        expression = filter_expression
        if filter_expression:
            expression = f"({filter_expression}) or ether proto {_MARK_TYPE:#x}"
        argv = ["tcpdump", "-Z", "root", "-n", "-U", "--immediate-mode", "-B", "8192", "-s", "0"]
        with self._log.open("wb") as log:
            self._process = processes.popen(
                namespace,
                [*argv, "-i", interface, "-w", str(self.file), *([expression] if expression else [])],
                stderr=log,
            )
        try:
            wait_until(self._listening, _LIMIT_S, f"tcpdump on {interface} of {namespace}")
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the capture when everything that has crossed the interface so far is in the file; again: nothing."""
        if self._process.poll() is not None:
            return
        try:
            self._flush()
        finally:
            self._end()

    def packets(self) -> list[Packet]:
        """The IP packets in the file now, oldest first; complete after `stop`."""
        return [packet for packet in pcap.read(self.file.read_bytes()) if isinstance(packet, Packet)]

    def count(self, class_of: Callable[[Packet], str]) -> Counter[str]:
        """How many packets there are of each class, as `class_of` names them."""
        return Counter(class_of(packet) for packet in self.packets())

    def questions(self) -> list[Question]:
        """The DNS queries by UDP among the packets, oldest first; what is no well-formed query is left out."""
        found = []
        for packet in self.packets():
            if packet.proto == "udp" and packet.dport == 53:
                with contextlib.suppress(dns.exception.DNSException):
                    message = dns.message.from_wire(packet.payload)
                    found += [
                        Question(str(packet.src), str(packet.dst), asked.name.to_text().lower(), _text(asked.rdtype))
                        for asked in message.question
                    ]
        return found

    def _listening(self) -> bool:
        if self._process.poll() is not None:
            raise NotReachedError(self._log.read_text())
        return "listening on" in self._log.read_text()

    def _flush(self) -> None:
        mark = uuid.uuid4().hex
        argv = [sys.executable, "-I", "-S", "-c", _SEND_MARK, self._marked_interface, mark]
        processes.run(self._namespace, argv, check=True)
        wait_until(lambda: mark.encode() in self.file.read_bytes(), _LIMIT_S, "the end mark in the capture")

    def _end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _text(rdtype: dns.rdatatype.RdataType) -> str:
    return dns.rdatatype.to_text(rdtype)
