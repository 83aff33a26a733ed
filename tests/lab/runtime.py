"""The product and its tests where every user may read and run them, and nobody but root may write.

The clone that they come from may lie in a private directory, belong to anybody and have any modes: what runs without
privileges runs from a copy. It is in memory, in a mount of its own, so that neither `noexec` on /run nor the umask reaches
it, and so that nothing is left of it after the mount.
"""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CLONE: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("appliance", "egress", "tests")
_PROJECT: Final = "mpic-appliance"
_LOCKED: Final = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_SIZE: Final = "size=768m"
_SITE: Final = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
_SCRIPT: Final = """\
#!{python}
import sys

from {module} import {function}

sys.exit({function}())
"""


class Runtime:
    """What `install` made in `directory`. `python` runs it, and has the locked packages of the product alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "bin" / "python"

    def program(self, name: str) -> str:
        """Path of a command of the product: `mpicd`, `mpic-perspective` ..."""
        return str(self.directory / "bin" / name)

    def source(self, name: str) -> Path:
        """Path of a file of `appliance`, `egress` or `tests`, by its path in the clone."""
        return self.directory / _SITE / name

    def environment(self, name: str) -> Path:
        """The interpreter of a copy of the clone's virtual environment `.venv/NAME`, made at the first call."""
        target = self.directory / name
        if not target.exists():
            _interpreter(target)
            _copy(Path(sys.prefix, name, _SITE), target / _SITE)
        return target / "bin" / "python"


def install(directory: Path) -> Runtime:
    """Copy the clone's product and tests, and the packages that the product is locked to, as they are now.

    What an earlier call put there goes away; a process that still runs from it keeps it.
    """
    remove(directory)
    directory.mkdir(exist_ok=True)
    options = f"mode=755,nosuid,nodev,exec,{_SIZE}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "mpic-lab", str(directory)], check=True)
    _interpreter(directory)
    site = directory / _SITE
    for distribution in (*_locked(), importlib.metadata.distribution(_PROJECT)):
        for file in distribution.files or ():
            source = Path(str(file.locate()))
            # Not what leads back to the clone.
            if not file.is_absolute() and ".." not in file.parts and file.suffix != ".pth" and source.is_file():
                _copy_file(source, site.joinpath(*file.parts))
    for package in _PACKAGES:
        _copy(_CLONE / package, site / package)
    made = Runtime(directory)
    for entry in importlib.metadata.distribution(_PROJECT).entry_points.select(group="console_scripts"):
        script = Path(made.program(entry.name))
        script.write_text(_SCRIPT.format(python=made.python, module=entry.module, function=entry.attr))
        script.chmod(0o755)
    return made


def remove(directory: Path) -> None:
    """Undo `install`; what was never installed is no error."""
    while directory.is_mount():
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@functools.cache
def of_this_process() -> Runtime:
    """One for tests without a lab, made at the first call and gone when this process ends."""
    directory = open_directory("mpic-tests-")
    atexit.register(directory.rmdir)
    atexit.register(remove, directory)
    return install(directory)


def open_directory(prefix: str) -> Path:
    """A new directory that every user can reach, wherever TMPDIR is; whoever asks for it removes it."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/var/lib"))
    directory.chmod(0o755)
    return directory


def _interpreter(directory: Path) -> None:
    """A virtual environment without packages, of the interpreter that runs this."""
    python = Path(sys.executable).resolve()
    (directory / "bin").mkdir(parents=True)
    (directory / _SITE).mkdir(parents=True)
    (directory / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n")
    (directory / "bin" / "python").symlink_to(python)


def _locked() -> Iterator[importlib.metadata.Distribution]:
    """What the product is locked to; what is locked for other systems is not there."""
    for name in _LOCKED.findall((_CLONE / "locks" / "runtime.txt").read_text()):
        try:
            yield importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            _copy_file(path, target / path.relative_to(source))


def _copy_file(source: Path, target: Path) -> None:
    """With the time of the last change, by which Python knows whether compiled code is current; readable by all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    stat = source.stat()
    target.chmod(0o755 if stat.st_mode & 0o100 else 0o644)
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
