"""The OCI image: read by a tool of others', booted in the lab, and a check answered by it over mutual TLS."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.model.check import AcmeHttp01Check, CheckRequest
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import Observation
from tests.lab import Lab, names, topology
from tests.lab.addresses import host
from tests.lab.appliance_files import EXCEPTIONS, TEST_NAMES, toml
from tests.lab.wait import wait_until
from tests.packaging.container import Container
from tests.packaging.tree import debian
from tests.unit.api.authority import Authority, Pair

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
BUILD = Path(__file__).parents[2] / "packaging" / "oci" / "build.py"
MACHINE = next(lan for lan in topology.LANS if lan.host == "syd")
OWN = host(16, 3)
_URL = f"https://{MACHINE.host_address.v4}:8443/perspectives/syd"
_TLS = "/etc/mpic/tls"
_READY_S = 120.0


@pytest.fixture(scope="module")
def bundle(debs: dict[str, Path]) -> Iterator[Path]:
    """What umoci, which checks every digest, makes of the image for a runtime."""
    if os.geteuid() != 0:
        pytest.skip("needs root: an overlay mount")
    with tempfile.TemporaryDirectory(prefix="mpic-oci-") as directory:
        image, unpacked = Path(directory) / "image", Path(directory) / "bundle"
        build = [str(BUILD), "--tree", str(debian()), "--deb", str(debs["mpic-appliance"]), "--out", str(image)]
        subprocess.run(build, check=True, timeout=600, capture_output=True, umask=0o077)
        (described,) = json.loads((image / "index.json").read_text())["manifests"]
        name = described["annotations"]["org.opencontainers.image.ref.name"]
        unpack = ["umoci", "unpack", "--image", f"{image}:{name}", str(unpacked)]
        subprocess.run(unpack, check=True, timeout=600, capture_output=True)
        yield unpacked


@dataclass(frozen=True)
class Running:
    """The image as a container on the machine in Sydney, and a partner's certificate."""

    lab: Lab
    container: Container
    authority: Authority
    partner: Pair

    def curl(self, url: str, *options: str) -> tuple[int, str]:
        """HTTP status (0: none) and body, from the CA's site."""
        pair = ["--cert", str(self.partner.certificate), "--key", str(self.partner.key)]
        argv = ["curl", "-s", "--max-time", "20", "--cacert", str(self.authority.certificate), *pair, *options]
        done = self.lab.run(topology.PRIMARY.namespace, [*argv, "-w", "\n%{http_code}", url])
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body


def _configuration() -> dict[str, Any]:
    place = topology.SYSTEM_BY_NAME[MACHINE.router].place
    return {
        "primary": {
            "code": "syd",
            "place": {
                "city": place.city,
                "country": place.country,
                "latitude": place.latitude,
                "longitude": place.longitude,
            },
            "netns": "mpic-syd",
            "uplink": "uplink0",
            "addresses": [f"{OWN.v4}/24", f"{OWN.v6}/64"],
            "gateways": list(MACHINE.gateway),
        },
        "resolver": {"trust_anchor_file": "/etc/mpic/root.key", "root_hints": "/etc/mpic/root.hints"},
        "targets": {"special_purpose_exceptions": list(EXCEPTIONS), "special_use_exceptions": list(TEST_NAMES)},
        "caa": {"issuer_domains": [topology.CA_DOMAIN]},
        "clock": {"require_synchronised": False},
        "api": {
            "tcp": [
                {
                    "address": MACHINE.host_address.v4,
                    "port": 8443,
                    "authentication": "mutual-tls",
                    "certificate_file": f"{_TLS}/server.pem",
                    "private_key_file": f"{_TLS}/server.key",
                    "client_ca_file": f"{_TLS}/partners.pem",
                }
            ]
        },
    }


@pytest.fixture(scope="module")
def running(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server, partner = authority.issue("server", address=str(MACHINE.host_address.v4)), authority.issue("partner")
    with Lab() as lab:
        files = {
            "/etc/mpic/appliance.toml": (toml(_configuration()).encode(), 0o644),
            "/etc/mpic/root.key": (names.trust_anchor_file().read_bytes(), 0o644),
            "/etc/mpic/root.hints": (names.root_hints_file().read_bytes(), 0o644),
            f"{_TLS}/server.pem": (server.certificate.read_bytes(), 0o644),
            f"{_TLS}/server.key": (server.key.read_bytes(), 0o644),
            f"{_TLS}/partners.pem": (authority.certificate.read_bytes(), 0o644),
            "/root/partner.pem": (partner.certificate.read_bytes(), 0o644),
        }
        with Container("mpic-oci", MACHINE.namespace, files, bundle / "rootfs") as container:
            yield Running(lab, container, authority, partner)


def test_the_image_says_how_it_is_started(bundle: Path) -> None:
    told = json.loads((bundle / "config.json").read_text())
    assert told["process"]["args"] == ["/sbin/init"]
    assert "container=oci" in told["process"]["env"]


def test_a_check_is_answered_by_the_image(running: Running) -> None:
    assert running.curl(_URL)[0] == 0, "nobody is registered yet"
    add = ("mpicctl", "client", "add", "partner", "--certificate", "/root/partner.pem", "--perspective", "syd")
    wait_until(lambda: running.container.call(*add).returncode == 0, _READY_S, "the partner is registered", 0.5)

    def ready() -> bool:
        status, body = running.curl(_URL)
        return status == 200 and json.loads(body)["ready"]

    try:
        wait_until(ready, _READY_S, "the perspective is ready", 0.5)
    except Exception as error:
        raise AssertionError(f"{error}\n{running.container.failures()}") from error
    running.lab.set_token("honest.example", "token", "token.key")
    name = Identifier(IdentifierType.DNS, "honest.example", wildcard=False, requested="honest.example")
    asked = msgspec.json.encode(CheckRequest("r-1", "syd", name, AcmeHttp01Check("token", "token.key"), 7500)).decode()

    def answered() -> str:
        # Again where a busy machine was too slow for a handshake.
        status, body = running.curl(f"{_URL}/check", "-H", "Content-Type: application/json", "-d", asked)
        assert status in {0, 200, 503, 504}, body
        return body if status == 200 else ""

    body = wait_until(answered, _READY_S, "an answer to the check", 0.5)
    seen = msgspec.json.decode(body, type=Observation)
    assert seen.corroborates, seen
    wait_until(lambda: running.lab.requests_seen("honest.example", "quay"), 10, "the target's log")
    assert {one.source for one in running.lab.requests_seen("honest.example", "quay")} <= {str(OWN.v4), str(OWN.v6)}
    assert running.container.state() == "running", running.container.failures()


def test_it_runs_without_privileges_and_forms_no_quorum(running: Running) -> None:
    status = running.container.run("cat", f"/proc/{running.container.main_pid('mpicd.service')}/status")
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}
    assert "0" not in fields["Uid"].split()
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    url = f"https://{MACHINE.host_address.v4}:8443/mpic"
    wait_until(
        lambda: running.curl(url, "-d", "{}")[0] == 403, _READY_S, "the partner may use the perspective alone", 0.5
    )
    running.container.run("mpicctl", "client", "revoke", "partner")
    assert running.curl(_URL)[0] == 0
    events = running.container.run("mpicctl", "evidence", "list", "--kind", "refused-caller", "--json")
    assert len(json.loads(events)["records"]) == 1, "one a minute for one address and reason"
    running.container.run("mpicctl", "evidence", "verify")
