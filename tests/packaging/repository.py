"""A signed apt repository of the project's packages, made with Debian's own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SUITE: Final = "bookworm"
COMPONENT: Final = "main"
_SIGNER: Final = "mpic repository"


class Repository:
    """Below `root`, which a web server may show to anybody; its signing key, and that key's public half, below `keys`."""

    def __init__(self, root: Path, keys: Path) -> None:
        self._root = root
        self._gnupg = keys / "gnupg"
        self._gnupg.mkdir(mode=0o700)
        self.key = keys / "mpic.asc"
        self._gpg("--quick-generate-key", _SIGNER, "ed25519", "sign", "never")
        self.key.write_bytes(self._gpg("--armor", "--export", _SIGNER))

    def publish(self, packages: Iterable[Path]) -> None:
        """Have it hold these package files beside those that it holds already."""
        pool = self._root / "pool"
        index = self._root / "dists" / SUITE / COMPONENT / f"binary-{_architecture()}"
        for directory in (pool, index):
            directory.mkdir(parents=True, exist_ok=True)
        for package in packages:
            shutil.copy(package, pool)
        (index / "Packages").write_bytes(self._ftparchive("packages", "pool"))
        release = self._ftparchive(
            *(f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in (
                ("Origin", "mpic"), ("Suite", SUITE), ("Codename", SUITE), ("Components", COMPONENT),
                ("Architectures", _architecture()),
            )),
            "release", f"dists/{SUITE}",
        )  # fmt: skip
        (index.parents[1] / "InRelease").write_bytes(self._gpg("--clearsign", stdin=release))

    def _ftparchive(self, *arguments: str) -> bytes:
        return subprocess.run(["apt-ftparchive", *arguments], cwd=self._root, check=True, capture_output=True).stdout

    def _gpg(self, *arguments: str, stdin: bytes = b"") -> bytes:
        argv = [
            "gpg",
            "--homedir",
            str(self._gnupg),
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        ]
        return subprocess.run([*argv, *arguments], input=stdin, check=True, capture_output=True).stdout

    def close(self) -> None:
        """Ends the agent that gpg started."""
        environment = os.environ | {"GNUPGHOME": str(self._gnupg)}
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)


def newer(package: Path, version: str, directory: Path) -> Path:
    """A copy of a package file that says it is `version`, in `directory`."""
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["dpkg-deb", "--raw-extract", package, work], check=True)
        control = Path(work) / "DEBIAN" / "control"
        lines = control.read_text().splitlines()
        control.write_text(
            "".join(f"Version: {version}\n" if line.startswith("Version: ") else f"{line}\n" for line in lines)
        )
        target = directory / f"{package.name.partition('_')[0]}_{version}_{_architecture()}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", work, target], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
    return target


def _architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
