"""Processes inside the lab's namespaces: start, find by namespace, end by pid."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from tests.lab import netns, state
from tests.lab.wait import NotReachedError, wait_until

_TERM_LIMIT_S: Final = 3.0
_KILL_LIMIT_S: Final = 5.0
_REAP_LIMIT_S: Final = 3.0
_LISTEN: Final = "0A"  # the kernel's TCP_LISTEN, as /proc/net/tcp shows it


def command(namespace: str, argv: Sequence[str], user: str | None = None) -> list[str]:
    """`argv` to be run in `namespace`, and as `user` with that user's groups and nothing of root's."""
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
    return [*netns.enter(namespace), *as_user, *argv]


def unprivileged(argv: Sequence[str], uid: int, groups: Sequence[int] = ()) -> list[str]:
    """`argv` to be run as a unit does: a user without an entry in /etc/passwd, no capabilities, and no way to get any, and
    with SCHED_BATCH (sched(7))."""
    return [
        "chrt", "--batch", "0",
        "setpriv", f"--reuid={uid}", f"--regid={uid}",
        f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups",
        "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--", *argv,
    ]  # fmt: skip


def run(
    namespace: str,
    argv: Sequence[str],
    *,
    user: str | None = None,
    timeout_s: float = 30.0,
    check: bool = False,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run to the end, output captured as text; with `check`, `CommandError` when the exit code is not 0."""
    full = command(namespace, argv, user)
    done = subprocess.run(full, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode != 0:
        raise netns.CommandError(f"{' '.join(full)}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def popen(
    namespace: str,
    argv: Sequence[str],
    *,
    user: str | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start in a session of its own, so that a Ctrl-C at the terminal does not reach it; its pid is the command's."""
    return subprocess.Popen(
        command(namespace, argv, user),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=None if env is None else dict(env),
        cwd=cwd,
        start_new_session=True,
    )


def service(namespace: str, name: str, argv: Sequence[str]) -> None:
    """Start a server of the lab as nobody's child, its output in `log/NAME.log` of the state directory."""
    with (state.directory("log") / f"{name}.log").open("ab") as log:
        subprocess.run(
            command(namespace, ["setsid", "--fork", *argv]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )


def inside(namespaces: Iterable[str]) -> dict[int, str]:
    """Pid -> namespace of every process that runs in one of `namespaces`."""
    names = {inode: name for name in namespaces if (inode := netns.inode(name)) is not None}
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (inode := _namespace_of(int(entry.name))) in names:
            found[int(entry.name)] = names[inode]
    return found


def listens(namespace: str, port: int) -> bool:
    """Whether something in the namespace accepts TCP connections at `port`."""
    wanted = f":{port:04X}"
    for pid in inside([namespace]):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
            return any(row[1].endswith(wanted) and row[3] == _LISTEN for row in rows)
    return False


def end_all(namespaces: Sequence[str]) -> None:
    """End every process in `namespaces`: first asked, then killed; returns when none is left."""
    deadline = time.monotonic() + _KILL_LIMIT_S
    ended = inside(namespaces)
    _signal_all(namespaces, signal.SIGTERM, _TERM_LIMIT_S)
    while left := inside(namespaces):
        _signal_all(namespaces, signal.SIGKILL, 1.0)
        if time.monotonic() > deadline:
            raise netns.CommandError(f"processes that cannot be killed: {sorted(left)}")
    with contextlib.suppress(NotReachedError):
        wait_until(lambda: not any(map(_unreaped, ended)), _REAP_LIMIT_S, "init to reap what has ended")


def _signal_all(namespaces: Sequence[str], number: signal.Signals, limit_s: float) -> None:
    handles = [handle for pid in inside(namespaces) if (handle := _open(pid, namespaces)) is not None]
    try:
        for handle in handles:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
        _wait_for_end(handles, time.monotonic() + limit_s)
    finally:
        for handle in handles:
            os.close(handle)


def _unreaped(pid: int) -> bool:
    """Whether the pid is a dead process that somebody else's parent has yet to wait for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] == "Z" and int(fields[1]) != os.getpid()


def _open(pid: int, namespaces: Sequence[str]) -> int | None:
    """A handle on the process, None when the number no longer means a process inside."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if _namespace_of(pid) in {netns.inode(name) for name in namespaces}:
        return handle
    os.close(handle)
    return None


def _wait_for_end(handles: Sequence[int], deadline: float) -> None:
    waiting = set(handles)
    while waiting and (left_s := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(waiting, [], [], left_s)
        waiting -= set(ended)


def _namespace_of(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
