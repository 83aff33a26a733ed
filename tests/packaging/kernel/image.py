"""What the emulated machine boots: Debian's own kernel, and a Debian with both packages installed as its initramfs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.packaging.tree import debian

# Without wireguard-go: a tunnel that comes up is the kernel's.
_PACKAGES: Final = (
    "dns-root-data", "iproute2", "kmod", "libsystemd0", "linux-image-cloud-amd64", "nftables", "nsd", "procps", "python3",
    "systemd", "systemd-sysv", "unbound", "util-linux", "wireguard-tools",
)  # fmt: skip
# All is held in memory twice while the kernel unpacks it, by an emulated processor.
_LEFT_OUT: Final = (
    "boot", "initrd.img*", "vmlinuz*", "root/*.deb", "usr/share/doc", "usr/share/i18n", "usr/share/initramfs-tools",
    "usr/share/locale", "usr/share/man", "usr/share/perl5", "usr/share/zoneinfo", "usr/lib/python3", "var/cache/*",
    "var/lib/apt/lists", "usr/bin/perl*", "usr/lib/udev", "usr/lib/x86_64-linux-gnu/perl*", "usr/lib/x86_64-linux-gnu/gconv",
)  # fmt: skip
_MODULES_KEPT: Final = ("arch/x86/crypto", "crypto", "drivers/net", "lib", "net")
_DRIVERS_LEFT_OUT: Final = ("ethernet", "hyperv", "vmxnet3", "wwan")
# Nothing in the machine is for them, and each costs seconds on an emulated processor.
_MASKED: Final = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dev-hugepages.mount", "dev-mqueue.mount", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "getty.target", "kmod-static-nodes.service",
    "ldconfig.service", "modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service",
    "modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service", "nsd.service",
    "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service", "systemd-journal-flush.service", "systemd-logind.service",
    "systemd-random-seed.service", "systemd-remount-fs.service", "systemd-udev-trigger.service", "systemd-udevd.service",
    "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-update-done.service",
    "systemd-update-utmp.service", "systemd-user-sessions.service", "unbound.service", "unbound-resolvconf.service",
)  # fmt: skip
# Not the machine's first boot, at which systemd enables and disables units by its presets.
_MACHINE_ID: Final = "6d706963206b65726e656c2074657374\n"


def build(directory: Path, packages: Iterable[Path], files: Mapping[str, tuple[bytes, int]]) -> tuple[Path, Path]:
    """Kernel and initramfs in `directory`; `packages` are installed, and `files` added by path with content and mode."""
    tree = directory / "tree"
    subprocess.run(["cp", "--archive", "--reflink=auto", debian(_PACKAGES), tree], check=True)
    kernel = directory / "vmlinuz"
    shutil.copy(_only(tree / "boot", "vmlinuz-*"), kernel)
    _install(tree, packages)
    for path, (content, mode) in files.items():
        file = tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
    (tree / "etc/machine-id").write_text(_MACHINE_ID)
    system = tree / "etc/systemd/system"
    for unit in _MASKED:
        (system / unit).unlink(missing_ok=True)
        (system / unit).symlink_to("/dev/null")
    _leave_out(tree)
    initramfs = directory / "initramfs"
    with initramfs.open("wb") as output:
        subprocess.run(
            "find . -print0 | sort -z | cpio --null --create --format=newc --quiet",
            shell=True, cwd=tree, stdout=output, check=True,
        )  # fmt: skip
    shutil.rmtree(tree)
    return kernel, initramfs


def _install(tree: Path, packages: Iterable[Path]) -> None:
    names = []
    for package in packages:
        shutil.copy(package, tree / "root")
        names.append(f"/root/{package.name}")
    # Each is started when what it needs has been made.
    disable = ["systemctl", "disable", "--quiet", "mpic.target", "mpic-egress.service", "mpic-egress.timer"]
    for argv in (["dpkg", "--install", *names], disable):
        done = subprocess.run(["chroot", tree, *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _leave_out(tree: Path) -> None:
    modules = _only(tree / "usr/lib/modules", "*") / "kernel"
    assert (modules / "drivers/net/wireguard/wireguard.ko").is_file()
    kept = [modules / name for name in _MODULES_KEPT]
    for module in [*modules.rglob("*.ko")]:
        below = module.relative_to(modules)
        if not any(module.is_relative_to(one) for one in kept) or set(_DRIVERS_LEFT_OUT) & set(below.parts):
            module.unlink()
    for pattern in _LEFT_OUT:
        for path in tree.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _only(directory: Path, pattern: str) -> Path:
    (found,) = directory.glob(pattern)
    return found
