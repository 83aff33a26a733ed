"""What has to be there before a worker and its resolver start: directories with their owners, and the resolver's files."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.config.schema import Settings
from appliance.errors import ConfigError
from appliance.linux.files import ensure_directory, write_atomically
from appliance.linux.users import User, find_user
from appliance.perspective.assignment import Assignment
from appliance.perspective.resolver import ResolverPaths, render_resolver, resolver_paths


def prepare(settings: Settings, assignment: Assignment) -> None:
    """Makes the directories of worker and resolver and writes the resolver's configuration and first trust anchor.

    To be run as root before each start. What is right already stays, the RFC 5011 state among it, unless the configured
    trust anchors are others than those it was begun from. Raises `ConfigError`, `NoSuchUser`, `WrongOwner`, `OSError`.
    """
    worker = find_user(assignment.user)
    resolver = find_user(settings.users.resolver)
    coordinator = find_user(settings.users.mpicd)
    paths = resolver_paths(settings, assignment.code)
    # Set-group-id, so that each socket has the group of the one user that is to connect to it.
    _make(settings.worker_socket(assignment.code).parent, User(worker.uid, coordinator.gid), 0o2750)
    _make(paths.runtime_directory, User(resolver.uid, worker.gid), 0o2750)
    _make(paths.state_directory, resolver, 0o750)
    _seed_trust_anchor(settings, paths, resolver)
    write_atomically(paths.configuration, render_resolver(settings, assignment).encode())


def _make(directory: Path, owner: User, mode: int) -> None:
    directory.parent.parent.mkdir(parents=True, exist_ok=True)
    ensure_directory(directory.parent, 0, 0, 0o755)
    ensure_directory(directory, owner.uid, owner.gid, mode)


def _seed_trust_anchor(settings: Settings, paths: ResolverPaths, owner: User) -> None:
    seed = _trust_anchors(settings)
    begun_from = paths.trust_anchor_seed.read_bytes() if paths.trust_anchor_seed.exists() else None
    if begun_from == seed and paths.trust_anchor.exists():
        return
    write_atomically(paths.trust_anchor, seed)
    os.chown(paths.trust_anchor, owner.uid, owner.gid)
    write_atomically(paths.trust_anchor_seed, seed)


def _trust_anchors(settings: Settings) -> bytes:
    configured = settings.resolver.trust_anchor_file
    try:
        return configured.read_bytes()
    except OSError as error:
        raise ConfigError([f"resolver.trust_anchor_file: {configured}: {error.strerror}"]) from error
