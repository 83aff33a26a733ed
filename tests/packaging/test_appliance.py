"""The package on a real systemd: installed, configured, started, asked, killed, hung, upgraded, removed, purged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.wait import wait_until
from tests.packaging.site import SERVED, VRP_FILE, Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
_WATCHDOG_S = 60.0
_DATABASE = "/var/lib/mpic/evidence/evidence.sqlite"
_KEYS = "/etc/mpic/keys"
# Instead of at random some time, so that nobody waits for it.
_AT_ONCE = b"[Timer]\nOnActiveSec=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1s\n"


def test_installed_and_configured_it_runs_clean(site: Site) -> None:
    site.wait_until_ready()
    assert site.container.state() == "running", site.container.failures()
    for unit in site.units:
        assert site.container.run("systemctl", "is-active", unit).strip() == "active"
    assert site.container.run("dpkg", "--verify", "mpic-appliance") == ""


def test_every_process_is_confined(site: Site) -> None:
    site.wait_until_ready()
    for unit in site.units:
        status = _status(site, unit)
        assert status["NoNewPrivs"] == "1", unit
        assert status["Seccomp"] == "2", unit
        if unit == "mpic-tunneld.service":
            assert int(status["CapBnd"], 16) < 1 << 22, "it keeps more than it names"
            continue
        assert "0" not in status["Uid"].split(), unit
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}, unit
    for code in site.codes:
        own = {_namespace(site, f"mpic-{kind}@{code}.service") for kind in ("perspective", "resolver")}
        assert len(own) == 1
        assert own != {_namespace(site, "mpic-tunneld.service")}


def test_a_domain_is_corroborated_and_the_journal_has_it(site: Site) -> None:
    site.wait_until_ready()
    done = site.container.call("mpicctl", "check", "caa", "www.quay.example", "--json")
    assert done.returncode == 0, done
    output = site.container.run("journalctl", "--unit=mpicd", "--output=json", "MPIC_IDENTIFIER=www.quay.example")
    assert json.loads(output.splitlines()[-1])["MPIC_METHOD"] == "caa"


@pytest.mark.parametrize("name", ["mpicd", "mpic-tunneld", "mpic-perspective@{}", "mpic-resolver@{}", "mpic-wg@wg-{}"])
def test_a_killed_process_comes_back(site: Site, name: str) -> None:
    site.wait_until_ready()
    unit = f"{name.format(site.codes[1])}.service"
    before = site.container.main_pid(unit)
    assert before > 0
    site.container.run("systemctl", "kill", "--signal=SIGKILL", unit)
    wait_until(lambda: site.container.main_pid(unit) not in {0, before}, _WATCHDOG_S, f"{unit} runs again", 0.2)
    site.wait_until_ready()


def test_a_hung_coordinator_is_started_anew_by_the_watchdog(site: Site) -> None:
    site.wait_until_ready()
    before = site.container.main_pid("mpicd.service")
    site.container.run("systemctl", "kill", "--signal=SIGSTOP", "mpicd.service")
    wait_until(lambda: site.container.main_pid("mpicd.service") not in {0, before}, _WATCHDOG_S, "a new mpicd", 0.5)
    site.wait_until_ready()
    assert "watchdog" in site.container.run("journalctl", "--no-pager", "--unit=mpicd")


def test_the_timer_fetches_vrps_and_what_is_none_replaces_nothing(site: Site) -> None:
    site.wait_until_ready()
    container = site.container
    assert container.run("systemctl", "is-active", "mpic-feed.timer").strip() == "active"
    container.write("/etc/systemd/system/mpic-feed.timer.d/at-once.conf", _AT_ONCE)
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "restart", "mpic-feed.timer")
    wait_until(lambda: container.call("test", "-s", VRP_FILE).returncode == 0, 60, "mpic-feed fetches", 0.5)
    fetched = container.run("stat", "-c", "%U %a", VRP_FILE)
    assert fetched.split() == ["mpic-feed", "644"]
    told = json.loads(container.call("mpicctl", "rov", "report", "--json").stdout)["vrps"]
    assert (told["problem"], told["file"]) == ("", VRP_FILE)
    assert told["count"] > 0
    content = container.run("cat", VRP_FILE)
    container.write(SERVED, b"{")
    assert container.call("systemctl", "start", "mpic-feed.service").returncode != 0
    assert container.run("cat", VRP_FILE) == content
    assert VRP_FILE in container.run("journalctl", "--no-pager", "--unit=mpic-feed.service", "--priority=info")
    container.write(SERVED, content.encode())
    container.run("systemctl", "start", "mpic-feed.service")
    assert container.state() == "running", container.failures()


def test_upgrade_keeps_evidence_keys_and_tunnels(site: Site, debs: dict[str, Path]) -> None:
    site.wait_until_ready()
    backend = site.container.main_pid(f"mpic-wg@wg-{site.codes[1]}.service")
    coordinator = site.container.main_pid("mpicd.service")
    kept = site.container.run("sh", "-c", f"stat -c %i {_DATABASE}; sha256sum {_KEYS}/*")
    site.install(debs["mpic-appliance"])
    wait_until(
        lambda: site.container.main_pid("mpicd.service") not in {0, coordinator}, _WATCHDOG_S, "a new mpicd", 0.2
    )
    site.wait_until_ready()
    assert site.container.run("sh", "-c", f"stat -c %i {_DATABASE}; sha256sum {_KEYS}/*") == kept
    assert site.container.main_pid(f"mpic-wg@wg-{site.codes[1]}.service") == backend
    assert site.container.state() == "running", site.container.failures()


def test_removal_keeps_evidence_and_keys_and_purge_does_not(site: Site) -> None:
    container = site.container
    container.run("dpkg", "--remove", "mpic-appliance", timeout_s=120)
    assert container.run("ip", "netns", "list") == ""
    assert container.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active,failed", "mpic*") == ""
    container.run("test", "-s", _DATABASE)
    assert len(container.run("ls", _KEYS).split()) == len(site.codes) - 1
    container.run("dpkg", "--purge", "mpic-appliance")
    assert container.call("test", "-e", "/var/lib/mpic").returncode == 1
    assert container.call("test", "-e", "/etc/mpic/keys").returncode == 1
    assert container.call("test", "-e", VRP_FILE).returncode == 1
    assert container.state() == "running", container.failures()


def _status(site: Site, unit: str) -> dict[str, str]:
    text = site.container.run("cat", f"/proc/{site.container.main_pid(unit)}/status")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _namespace(site: Site, unit: str) -> str:
    return site.container.run("readlink", f"/proc/{site.container.main_pid(unit)}/ns/net").strip()
