"""Fetches a data file, bounded in size and time, and puts it in place only where its form and its date are right."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from appliance.errors import ApplianceError, ConfigError
from appliance.rpki.beacons import read_beacons
from appliance.rpki.vrps import MAX_BYTES, BadExport, read_vrps

MAX_BEACON_BYTES = 256 * 1024
# An export that lost this share of its VRPs at once is a fault of the validator's more likely than of the world's.
_LEAST_LEFT = 0.5
_SKEW = timedelta(minutes=5)


class FetchFailed(ApplianceError):
    """Nothing was fetched, or it is not fit to replace what is there. The text says which file, from where, and why."""


def fetch_vrps(
    url: str, path: Path, *, timeout_s: float, ca_file: Path | None = None, max_bytes: int = MAX_BYTES
) -> int:
    """Fetches a VRP export to `path`; the number of its VRPs. Raises `FetchFailed`: also for one that is older than what
    is there, or has less than half as many VRPs."""

    def check(new: Path) -> None:
        found = read_vrps(new, max_bytes=max_bytes)
        if found.generated > datetime.now(UTC) + _SKEW:
            raise FetchFailed(f"made at {found.generated:%Y-%m-%dT%H:%M:%SZ}, which is in the future")
        try:
            old = read_vrps(path, max_bytes=max_bytes)
        except BadExport:
            return
        if found.generated < old.generated:
            raise FetchFailed(f"made at {found.generated:%Y-%m-%dT%H:%M:%SZ}, before the one that is there")
        if found.count < old.count * _LEAST_LEFT:
            raise FetchFailed(f"{found.count} VRPs after {old.count}")

    _fetch(url, path, check, max_bytes, timeout_s, ca_file)
    return read_vrps(path, max_bytes=max_bytes).count


def fetch_beacons(url: str, path: Path, *, timeout_s: float, ca_file: Path | None = None) -> int:
    """Fetches a list of beacons to `path`; the number of its beacons. Raises `FetchFailed`."""

    def check(new: Path) -> None:
        if not read_beacons(new):
            raise FetchFailed("no beacon")

    _fetch(url, path, check, MAX_BEACON_BYTES, timeout_s, ca_file)
    return len(read_beacons(path))


def _fetch(
    url: str, path: Path, check: Callable[[Path], None], max_bytes: int, timeout_s: float, ca_file: Path | None
) -> None:
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            _download(url, file.write, max_bytes, timeout_s, ca_file)
            file.flush()
            os.fsync(descriptor)
        check(new)
        new.replace(path)
        _sync_directory(path.parent)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, BadExport, ConfigError, FetchFailed) as error:
        raise FetchFailed(f"{path} from {url}: {error or type(error).__name__}") from error
    finally:
        new.unlink(missing_ok=True)


def _download(
    url: str, write: Callable[[bytes], object], max_bytes: int, timeout_s: float, ca_file: Path | None
) -> None:
    """Raises `FetchFailed`, `httpx.HTTPError`, `OSError`. No redirects, no proxies from the environment, no decompression."""
    end_s = time.monotonic() + timeout_s
    tls = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    size = 0
    with (
        httpx.Client(verify=tls, trust_env=False, follow_redirects=False, timeout=timeout_s) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code != httpx.codes.OK or response.headers.get("content-encoding", "identity") != "identity":
            raise FetchFailed(f"status {response.status_code}, or a compressed answer")
        for part in response.iter_raw(1 << 16):
            size += len(part)
            if size > max_bytes:
                raise FetchFailed(f"more than {max_bytes} bytes")
            if time.monotonic() > end_s:
                raise FetchFailed(f"not whole within {timeout_s:g} s")
            write(part)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
