"""The control node: a machine of the lab's Internet that has Ansible, an ssh key, and the host keys of the nodes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.lab import processes, topology
from tests.lab.addresses import host

ANSIBLE: Final = Path(__file__).parents[2] / "ansible"
NAMESPACE: Final = topology.SYSTEM_BY_NAME["nordlys"].namespace
ADDRESS: Final = host(1, 1)
_PLAY_S: Final = 900.0
_COUNTS: Final = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)

_PLAY: Final = re.compile(r"PLAY \[(.*)\]")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ssh key pair: the private half as OpenSSH has it in a file, the public half as a line."""

    private: bytes
    public: str

    @classmethod
    def make(cls, path: Path) -> KeyPair:
        """A new one, also in `path` and `path`.pub."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path], check=True)
        return cls(path.read_bytes(), path.with_name(f"{path.name}.pub").read_text().strip())


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a playbook: `counts` by host and word (`changed`, `failed`, …).

    `begun_s`: when each play began, by its name and the monotonic clock.
    """

    status: int
    output: str
    begun_s: dict[str, float]
    counts: dict[str, dict[str, int]]

    def total(self, word: str) -> int:
        """The sum over all hosts."""
        return sum(counts[word] for counts in self.counts.values())


class Control:
    """Runs playbooks from `directory`, which root alone may read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = KeyPair.make(directory / "id_ed25519")
        (directory / "known_hosts").touch()

    def know(self, address: str, public_key: str) -> None:
        """Only this key is the machine's at `address`."""
        with (self.directory / "known_hosts").open("a") as file:
            file.write(f"{address} {public_key}\n")

    def ssh_variables(self) -> dict[str, Any]:
        """How Ansible reaches a node."""
        options = f"-F none -o UserKnownHostsFile={self.directory}/known_hosts -o StrictHostKeyChecking=yes"
        return {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.directory / "id_ed25519"),
            "ansible_ssh_common_args": f"{options} -o IdentitiesOnly=yes -o PasswordAuthentication=no",
        }

    def play(
        self,
        playbook: str,
        inventory: Mapping[str, Any],
        *options: str,
        variables: Mapping[str, Any] | None = None,
    ) -> Played:
        """`ansible-playbook playbooks/NAME.yml`; its output also goes to stdout as it comes."""
        file = self.directory / "inventory.yml"
        file.write_text(yaml.safe_dump(dict(inventory)))
        extra = (
            ["--extra-vars", yaml.safe_dump(dict(variables), default_flow_style=True, width=10_000)]
            if variables
            else []
        )
        tools = Path(sys.executable).parent
        argv = [str(tools / "ansible-playbook"), f"playbooks/{playbook}.yml", "-i", str(file), *extra, *options]
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(self.directory),
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.directory / "ansible"),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
        }
        print(f"$ {shlex.join(argv)}")
        status, output, begun_s = _run(processes.command(NAMESPACE, argv), environment)
        counts = {
            name: {word: int(count) for word, _, count in (part.partition("=") for part in text.split())}
            for name, text in _COUNTS.findall(output)
        }
        return Played(status, output, begun_s, counts)


def _run(argv: list[str], environment: Mapping[str, str]) -> tuple[int, str, dict[str, float]]:
    """As in `Played`. The output also goes to stdout line by line, each task with the seconds since the start."""
    start = time.monotonic()
    lines = []
    begun_s = {}
    with subprocess.Popen(
        argv,
        cwd=ANSIBLE,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        watch = threading.Timer(_PLAY_S, process.kill)
        watch.start()
        try:
            for line in process.stdout or ():
                lines.append(line)
                if play := _PLAY.match(line):
                    begun_s[play[1]] = time.monotonic()
                stamp = f"{time.monotonic() - start:6.1f} s  " if line.startswith(("TASK", "PLAY", "RUNNING")) else ""
                print(f"{stamp}{line}", end="", flush=True)
        finally:
            watch.cancel()
    return process.returncode, "".join(lines), begun_s
