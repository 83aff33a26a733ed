"""The directories that the processes need, with owners and modes, made by the one process that is root."""

from __future__ import annotations

from pathlib import Path

from appliance.config import Settings
from appliance.linux.files import ensure_directory
from appliance.linux.users import find_group, find_user


def own_directory(settings: Settings) -> Path:
    """The tunnel daemon's: its record, its lock, the logs of backends."""
    return settings.runtime_directory / "tunneld"


def prepare(settings: Settings) -> None:
    """Makes every directory, idempotently. Raises `NoSuchUser`, `WrongOwner`, `OSError`."""
    users = settings.users
    mpicd, resolver = find_user(users.mpicd), find_user(users.resolver)
    perspective, primary = find_user(users.perspective), find_user(users.primary)
    runtime, state = settings.runtime_directory, settings.state_directory
    runtime.parent.mkdir(parents=True, exist_ok=True)
    state.parent.mkdir(parents=True, exist_ok=True)

    sockets_here = runtime in {settings.api.socket.parent, settings.api.operator_socket.parent}
    # Sticky: mpicd may make its sockets, but not replace what is root's.
    ensure_directory(runtime, 0, mpicd.gid if sockets_here else 0, 0o1775 if sockets_here else 0o755)
    ensure_directory(own_directory(settings), 0, 0, 0o700)
    for parent in {settings.api.socket.parent, settings.api.operator_socket.parent} - {runtime}:
        if not parent.exists():
            ensure_directory(parent, mpicd.uid, mpicd.gid, 0o755)
    ensure_directory(runtime / "workers", 0, 0, 0o755)
    ensure_directory(state, 0, 0, 0o755)
    # Set-group-id: operators read the store beside mpicd; the keys in it are mpicd's alone by their own modes.
    ensure_directory(settings.database.parent, mpicd.uid, find_group(users.operator_group), 0o2750)
    ensure_directory(settings.coordinator_directory, mpicd.uid, mpicd.gid, 0o700)
    ensure_directory(state / "resolvers", 0, 0, 0o755)
    workers = {p.code: perspective for p in settings.perspectives}
    if settings.primary.kind == "local":
        workers[settings.primary.code] = primary
    for code, worker in workers.items():
        ensure_directory(runtime / "workers" / code, worker.uid, mpicd.gid, 0o2750)
        ensure_directory(state / "resolvers" / code, resolver.uid, resolver.gid, 0o750)
