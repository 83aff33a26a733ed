#!/usr/bin/python3 -I
"""Builds, as root, an OCI image of `mpicd --perspective-only` into build/oci (image layout 1.0), and pulls no base for it.

Two layers: Debian from debootstrap, and the package mpic-appliance installed in it. Its first process is systemd, which
starts the tunnel daemon, the resolvers and workers, and the coordinator, each as its own user, as on any machine.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
PACKAGES = (
    "ca-certificates", "dbus", "dns-root-data", "iproute2", "libsystemd0", "nftables", "procps", "python3", "systemd",
    "systemd-sysv", "unbound", "util-linux", "wireguard-go", "wireguard-tools",
)  # fmt: skip
# Machines are named by their own addresses and clocks by their hosts; a container loads no modules.
MASKED = ("systemd-networkd.service", "systemd-timesyncd.service", "systemd-resolved.service", "modprobe@.service")
_INSTALL = """
mount -t tmpfs -o mode=755 tmpfs "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/root"
mount -t proc proc "$WORK/root/proc"
cp "$DEB" "$WORK/root/mpic-appliance.deb"
chroot "$WORK/root" dpkg --install /mpic-appliance.deb >&2
rm "$WORK/root/mpic-appliance.deb"
mkdir -p "$WORK/root/etc/systemd/system/mpicd.service.d"
cp "$DROP_IN" "$WORK/root/etc/systemd/system/mpicd.service.d/50-perspective-only.conf"
for unit in $MASKED; do ln -sf /dev/null "$WORK/root/etc/systemd/system/$unit"; done
: >"$WORK/root/etc/machine-id"
umount "$WORK/root/proc" "$WORK/root"
# What a layer takes away has a name of its own in the format; in an overlay it is a character device.
find "$WORK/upper" -type c | while read -r gone; do
    rm "$gone"
    touch "$(dirname "$gone")/.wh.$(basename "$gone")"
done
exec tar --create --sort=name --numeric-owner --mtime="@$EPOCH" --directory="$WORK/upper" .
"""


class Layout:
    """An image layout being written into `directory`."""

    def __init__(self, directory: Path) -> None:
        self._blobs = directory / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        self._directory = directory

    def layer(self, command: list[str], environment: dict[str, str]) -> tuple[dict[str, Any], str]:
        """The archive that `command` writes, compressed: its descriptor, and the digest of the archive itself."""
        partial, whole = self._blobs / "partial", hashlib.sha256()
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | environment) as process:
            if process.stdout is None:
                raise ValueError("a pipe was asked for")
            with partial.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as compressed:
                while chunk := process.stdout.read(1 << 20):
                    whole.update(chunk)
                    compressed.write(chunk)
        if process.returncode:
            sys.exit(f"oci: exit status {process.returncode} of {command[0]}")
        return self._named(partial, "application/vnd.oci.image.layer.v1.tar+gzip"), f"sha256:{whole.hexdigest()}"

    def document(self, content: dict[str, Any], media_type: str) -> dict[str, Any]:
        """A JSON document: its descriptor."""
        partial = self._blobs / "partial"
        partial.write_text(json.dumps(content, sort_keys=True))
        return self._named(partial, media_type)

    def close(self, manifest: dict[str, Any], name: str) -> None:
        """Makes `manifest`, under `name`, what the layout holds."""
        named = manifest | {"annotations": {"org.opencontainers.image.ref.name": name}}
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [named]}
        (self._directory / "index.json").write_text(json.dumps(index))
        (self._directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def _named(self, file: Path, media_type: str) -> dict[str, Any]:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        size = file.stat().st_size
        file.rename(self._blobs / digest)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def build(tree: Path, deb: Path, out: Path) -> None:
    """Writes the layout `out` of the Debian `tree` and the package `deb`."""
    _, version, architecture = deb.stem.split("_")
    epoch = os.environ.get("SOURCE_DATE_EPOCH", str(int(deb.stat().st_mtime)))
    layout = Layout(out)
    common = ["--create", "--sort=name", "--numeric-owner", f"--mtime=@{epoch}", f"--directory={tree}", "."]
    base = layout.layer(["tar", *common], {})
    with tempfile.TemporaryDirectory(prefix="mpic-oci-") as work:
        environment = {
            "WORK": work,
            "TREE": str(tree),
            "DEB": str(deb),
            "DROP_IN": str(ROOT / "packaging" / "oci" / "perspective-only.conf"),
            "MASKED": " ".join(MASKED),
            "EPOCH": epoch,
        }
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _INSTALL]
        installed = layout.layer(command, environment)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": ["/sbin/init"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=oci"],
            "StopSignal": "SIGRTMIN+3",
            "Volumes": {"/etc/mpic": {}, "/var/lib/mpic": {}},
            "Labels": {"org.opencontainers.image.title": "mpic-appliance", "org.opencontainers.image.version": version},
        },
        "rootfs": {"type": "layers", "diff_ids": [base[1], installed[1]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layout.document(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [base[0], installed[0]],
    }
    layout.close(layout.document(manifest, "application/vnd.oci.image.manifest.v1+json"), version)


def main() -> None:
    """Exits with 1 and a message where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--tree", type=Path, help=f"a Debian {SUITE} tree with {', '.join(PACKAGES)}; default: made anew"
    )
    parser.add_argument("--mirror", help="where a new tree comes from; default: debootstrap's own")
    parser.add_argument("--deb", type=Path, help="the package; default: the one in build/deb")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "oci")
    options = parser.parse_args()
    # The modes of what is written become the image's.
    os.umask(0o022)
    found = [options.deb] if options.deb else sorted((ROOT / "build" / "deb").glob("mpic-appliance_*.deb"))
    if len(found) != 1 or not found[0].exists():
        sys.exit("oci: no package in build/deb: make deb")
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="mpic-oci-") as work:
        tree = options.tree or Path(work) / "tree"
        if options.tree is None:
            # What debootstrap mounts in the tree goes with it, however it ends.
            command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase"]
            command.append(f"--include={','.join(PACKAGES)}")
            command += [SUITE, str(tree), *([options.mirror] if options.mirror else [])]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            shutil.rmtree(tree / "var/cache/apt")
        build(tree.resolve(), found[0], options.out)
    print(f"oci: {options.out}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
