"""Packets on an interface, seen by tcpdump."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

# What hosts say to their neighbours whatever they run: ARP, neighbour and router discovery, multicast listener reports.
NEIGHBOURLY = "(arp or (icmp6 and ip6[40] >= 133 and ip6[40] <= 137) or ip6 proto 0)"


class Capture:
    """What was seen on an interface; `end` it before it is asked."""

    def __init__(self, namespace: str, interface: str, file: Path) -> None:
        self._file = file
        command = ["tcpdump", "-i", interface, "-U", "--immediate-mode", "-Z", "root", "-w", str(file)]
        self._process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace}", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert self._process.stderr is not None
        while b"listening on" not in (line := self._process.stderr.readline()):
            assert line, "tcpdump ended"

    def end(self) -> None:
        """Ends the capture; a second time changes nothing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=10)

    def lines(self, expression: str) -> list[str]:
        """One line for each packet that fits the pcap-filter(7) expression."""
        command = ["tcpdump", "-nn", "-t", "-r", str(self._file), expression]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
