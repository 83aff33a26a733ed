"""The CA's site with the appliance as a package in a container, and the lab's egress nodes at the other ends."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from tests.lab import Lab, names, rpki, state, topology
from tests.lab.appliance import ROOT, Appliance
from tests.lab.appliance_files import routing_file, toml, write_all
from tests.lab.wait import wait_until
from tests.packaging.container import Container

_READY_S = 90.0
VRP_FILE = "/var/lib/mpic-feed/vrps.json"
SERVED = "/srv/vrps/vrps.json"
_FEED_PORT = 8099
_ANCHORS_CA = "/etc/mpic/anchors.pem"
_ONLY_IN_THE_LAB = ("rov", "state_directory", "runtime_directory", "wireguard_go_launcher", "users", "api")


class Site:
    """`container` runs the appliance with the configuration of the lab's, but for what the package has defaults for."""

    def __init__(self, lab: Lab, container: Container) -> None:
        self.lab = lab
        self.container = container
        self.codes = [topology.PRIMARY.code, *(egress.code for egress in topology.EGRESSES)]
        self.units = [
            "mpicd.service",
            "mpic-tunneld.service",
            *(f"mpic-{kind}@{code}.service" for kind in ("perspective", "resolver") for code in self.codes),
        ]

    def write_files(self) -> None:
        """Keys, trust anchor, root hints and both sides' configuration; the egress nodes are set up."""
        write_all(state.directory("appliance"))
        Appliance().apply_egress(*(egress.code for egress in topology.EGRESSES))
        document = tomllib.loads((ROOT / "appliance.toml").read_text())
        for key in _ONLY_IN_THE_LAB:
            del document[key]
        for perspective in document["perspectives"]:
            wireguard = perspective["wireguard"]
            key_file = f"/etc/mpic/keys/{perspective['code']}.key"
            self.container.write(key_file, Path(wireguard["private_key_file"]).read_bytes(), 0o600)
            wireguard["private_key_file"] = key_file
        document["resolver"] = self._resolver()
        self._serve_vrps()
        document["rov"] = {"vrp_file": VRP_FILE, "feed": {"vrp_url": f"http://127.0.0.1:{_FEED_PORT}/vrps.json"}}
        for anchor in document["anchors"]:
            self.container.write(_ANCHORS_CA, Path(anchor["ca_file"]).read_bytes())
            anchor["ca_file"] = _ANCHORS_CA
        document["routing"] = {"files": ["/etc/mpic/riswhoisdump"]}
        self.container.write("/etc/mpic/riswhoisdump", routing_file().read_bytes())
        self.container.write("/etc/mpic/appliance.toml", toml(document).encode())

    def install(self, package: Path) -> None:
        """Installs the package, which starts the appliance where there is a configuration."""
        self.container.write("/root/package.deb", package.read_bytes())
        self.container.run("dpkg", "--install", "/root/package.deb", timeout_s=180)

    def wait_until_ready(self, timeout_s: float = _READY_S) -> None:
        """Returns once `mpicctl status` is content and every perspective is ready."""
        try:
            wait_until(self.is_ready, timeout_s, "every perspective of the packaged appliance is ready", 0.5)
        except Exception as error:
            raise AssertionError(f"{error}\n{self.container.failures()}") from error

    def is_ready(self) -> bool:
        """Whether `mpicctl status` exits with 0 and shows every perspective as ready."""
        done = self.container.call("mpicctl", "status", "--json")
        if done.returncode != 0:
            return False
        status = json.loads(done.stdout)
        return all(entry["ready"] for entry in (status["primary"], *status["perspectives"]))

    def status(self) -> dict[str, Any]:
        """`mpicctl status --json`."""
        told: dict[str, Any] = json.loads(self.container.run("mpicctl", "status", "--json"))
        return told

    def _serve_vrps(self) -> None:
        """A validator's export beside the appliance, for mpic-feed to fetch."""
        self.container.write(SERVED, rpki.vrp_file().read_bytes())
        serve = ["python3", "-m", "http.server", "--bind=127.0.0.1", f"--directory={Path(SERVED).parent}"]
        self.container.run("systemd-run", "--unit=validator", *serve, str(_FEED_PORT))

    def _resolver(self) -> dict[str, str]:
        files = {"trust_anchor_file": names.trust_anchor_file(), "root_hints": names.root_hints_file()}
        for path in files.values():
            self.container.write(f"/etc/mpic/{Path(path).name}", Path(path).read_bytes())
        return {key: f"/etc/mpic/{Path(path).name}" for key, path in files.items()}
