"""The package on a real systemd: installed, configured, started, asked, killed, hung, reinstalled, removed, purged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.wait import wait_until
from tests.packaging.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_installed_and_configured_it_runs_clean(site: Site) -> None:
    site.wait_until_ready()
    assert site.container.state() == "running", site.container.failures()
    assert [code for code in site.codes if code not in site.container.run("mpicctl", "status")] == []
    for unit in site.units:
        assert site.container.run("systemctl", "is-active", unit).strip() == "active"


def test_a_domain_is_corroborated(site: Site) -> None:
    site.wait_until_ready()
    done = site.container.call("mpicctl", "check", "caa", "www.quay.example")
    assert done.returncode == 0, done
