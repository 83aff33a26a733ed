"""A CA in the lab: acme2certifier as `packaging/examples/acme2certifier` sets it up, and certbot on applicants' machines."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from tests.lab import Lab, certificates, processes, state, topology, wait_until, web
from tests.lab.appliance import Appliance
from tests.lab.appliance_files import USERS
from tests.lab.runtime import Runtime

EXAMPLE: Final = Path(__file__).parents[2] / "packaging" / "examples" / "acme2certifier"
_VENV: Final = Path(sys.executable).parent / ".." / "acme" / "bin"
_USER: Final = 64121
_PORT: Final = 14000
_SERVE: Final = """
import sys
from werkzeug.serving import run_simple
sys.path.insert(0, sys.argv[1])
from wsgi import application
run_simple(sys.argv[2], int(sys.argv[3]), application, threaded=True, ssl_context=(sys.argv[4], sys.argv[4]))
"""


@dataclass(frozen=True)
class AcmeCa:
    """The running CA. `directory` has its files: what it issued is in `issued`, its log is `log`."""

    lab: Lab
    directory: Path
    log: Path

    def issued(self) -> list[list[str]]:
        """The names of every certificate that the CA signed, the oldest first."""
        files = sorted(self.directory.glob("issued/*"), key=lambda file: file.stat().st_mtime_ns)
        return [_names(x509.load_pem_x509_certificate(file.read_bytes())) for file in files]

    def load(self, configuration: Path) -> subprocess.CompletedProcess[str]:
        """Loads the server with another configuration, and serves nothing."""
        argv = [str(_VENV / "python"), "-c", "import wsgi"]
        environment = {"ACME_SRV_CONFIGFILE": str(configuration), "PYTHONPATH": str(EXAMPLE)}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def certbot(self, machine: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """certbot on an applicant's or the attacker's machine ("quay", "mallory"), as an account of its own there."""
        own = state.directory("acme", "certbot", machine)
        argv = [
            str(_VENV / "certbot"), "certonly", "--non-interactive", "--force-renewal",
            "--agree-tos", "--email", f"hostmaster@{machine}.lab", "--no-eff-email",
            "--server", f"https://{topology.PRIMARY.host_address.v4}:{_PORT}/directory", "--key-type", "ecdsa",
            "--config-dir", str(own), "--work-dir", str(own), "--logs-dir", str(own), *arguments,
        ]  # fmt: skip
        trust = {"REQUESTS_CA_BUNDLE": str(self.directory / "tls-ca.pem"), "PYTHONWARNINGS": "ignore"}
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(EXAMPLE.parents[2]), **trust}
        command = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *argv]
        return self.lab.run(topology.SYSTEM_BY_NAME[machine].namespace, command, timeout_s=120)

    def http_01(self, machine: str, name: str) -> subprocess.CompletedProcess[str]:
        """As `certbot`, with challenges as files of the machine's own web server."""
        root = web.directory(machine) / "www" / name
        root.mkdir(parents=True, exist_ok=True)
        return self.certbot(machine, "--webroot", "--webroot-path", str(root), "--domain", name)

    def dns_01(self, machine: str, *names: str) -> subprocess.CompletedProcess[str]:
        """As `certbot`, with challenges as TXT records of the machine's own name server."""
        # certbot looks for the program by the first word, which cannot have a space in it.
        hook = f"{Runtime(state.RUNTIME).python} -m tests.e2e.acme {machine}"
        domains = [word for name in names for word in ("--domain", name)]
        return self.certbot(machine, "--manual", "--preferred-challenges", "dns", "--manual-auth-hook", hook, *domains)

    def certificate(self, machine: str, name: str) -> x509.Certificate:
        """What certbot keeps for `name`; raises `FileNotFoundError` where it got none."""
        file = state.directory("acme", "certbot", machine) / "live" / name / "cert.pem"
        return x509.load_pem_x509_certificate(file.read_bytes())

    def root(self) -> x509.Certificate:
        """The CA's own certificate."""
        return x509.load_pem_x509_certificate((self.directory / "ca.pem").read_bytes())


@contextlib.contextmanager
def acme_ca(lab: Lab, appliance: Appliance) -> Iterator[AcmeCa]:
    """The CA's ACME server, answering on the CA's site until the end."""
    directory = state.directory("acme", "server")
    try:
        _write_files(directory)
        log = state.directory("log") / "acme2certifier.log"
        with log.open("wb") as output:
            python = Runtime(state.RUNTIME).environment("acme")
            argv = [str(python), "-c", _SERVE, str(directory / EXAMPLE.name)]
            argv += [str(topology.PRIMARY.host_address.v4), str(_PORT), str(directory / "tls.pem")]
            # Its group is what lets it ask the appliance.
            command = processes.unprivileged(argv, _USER, [USERS["api_group"]])
            environment = {
                "PATH": os.environ["PATH"],
                "ACME_SRV_CONFIGFILE": str(directory / "acme_srv.cfg"),
                "MPIC_SOCKET": str(appliance.settings.api.socket),
            }
            namespace = topology.PRIMARY.namespace
            process = processes.popen(namespace, command, stdout=output, stderr=output, env=environment, cwd=directory)
        try:

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                return processes.listens(namespace, _PORT)

            wait_until(answers, 60, "acme2certifier listens", 0.1)
            yield AcmeCa(lab, directory, log)
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(state.STATE_DIR / "acme")


def _names(certificate: x509.Certificate) -> list[str]:
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(alternatives.get_values_for_type(x509.DNSName))


def _write_files(directory: Path) -> None:
    """The example's configuration with the lab's paths, a root key, and a certificate for the server itself."""
    (directory / "issued").mkdir()
    # The server runs without privileges, which may not be able to reach the clone.
    shutil.copytree(EXAMPLE, directory / EXAMPLE.name, copy_function=shutil.copyfile)
    subject = ["-subj", "/CN=The lab's CA", "-days", "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(directory / "ca.key")]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *subject, "-out", str(directory / "ca.pem")], check=True, capture_output=True
    )
    text = (EXAMPLE / "acme_srv.cfg").read_text()
    text = text.replace("/etc/acme2certifier/mpic_hook.py", str(directory / EXAMPLE.name / "mpic_hook.py"))
    text = text.replace("/etc/acme2certifier", str(directory)).replace("/var/lib/acme2certifier", str(directory))
    (directory / "acme_srv.cfg").write_text(text)
    authority = certificates.Authority()
    authority.write(directory / "tls-ca.pem")
    authority.issue(directory / "tls.pem", ["acme.ca.lab"], list(topology.PRIMARY.host_address))
    for path in (directory, *directory.rglob("*")):
        os.chown(path, _USER, _USER)


def publish(arguments: Sequence[str]) -> None:
    """certbot's hook for a dns-01 challenge: adds the value to what the name has."""
    (server,) = arguments
    name = f"_acme-challenge.{os.environ['CERTBOT_DOMAIN']}"
    values = os.environ["CERTBOT_VALIDATION"], *_others(name)
    Lab().set_txt(name, values, server)
    _file(name).write_text("\n".join(values))


def _others(name: str) -> list[str]:
    return _file(name).read_text().split() if _file(name).exists() else []


def _file(name: str) -> Path:
    return state.directory("acme", "txt") / name


if __name__ == "__main__":
    publish(sys.argv[1:])
