"""`mpicctl` as an operator types it: exit codes, JSON, and errors that say what to do next."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.asking import DIGEST, KEY_AUTHORIZATION, TOKEN
from tests.lab import Lab, topology
from tests.lab.appliance import Appliance
from tests.lab.appliance_files import toml

pytestmark = pytest.mark.e2e

MPICCTL = Path(sys.executable).parent / "mpicctl"


def mpicctl(appliance: Appliance, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(MPICCTL), "--config", str(appliance.config), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def as_json(appliance: Appliance, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = mpicctl(appliance, *arguments, "--json")
    assert done.returncode == code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_status(appliance: Appliance) -> None:
    told = as_json(appliance, "status")
    by_code = {one["code"]: one for one in told["perspectives"]}
    for egress in topology.EGRESSES:
        one = by_code[egress.code]
        assert one["ready"]
        assert one["tunnel"]["backend"] in {"kernel", "wireguard-go"}
        assert one["handshake_age_s"] < 180
        assert set(one["worker"]["egress_addresses"]) == set(map(str, egress.address))
        assert one["nearest"]["distance_m"] >= 500_000
    text = mpicctl(appliance, "status").stdout
    assert all(egress.code in text and str(egress.address.v4) in text for egress in topology.EGRESSES)


def test_perspectives(appliance: Appliance) -> None:
    told = as_json(appliance, "perspectives")
    count = len(topology.EGRESSES) + 1
    assert len(told["distances"]) == count * (count - 1) // 2
    assert told["policy"]["next"]["since"] == "2026-12-15" or told["policy"]["next"] is None
    assert "Amsterdam" in mpicctl(appliance, "perspectives").stdout


def test_checks_and_exit_codes(lab: Lab, appliance: Appliance) -> None:
    assert as_json(appliance, "check", "caa", "honest.example")["is_valid"] is True
    assert as_json(appliance, "check", "caa", "forbidden.example", code=1)["is_valid"] is False
    lab.set_token("free.example", TOKEN, KEY_AUTHORIZATION)
    options = ["--token", TOKEN, "--key-authorization", KEY_AUTHORIZATION]
    assert mpicctl(appliance, "check", "acme-http-01", "free.example", *options).returncode == 0
    lab.clear_token("free.example", TOKEN)
    refused = mpicctl(appliance, "check", "acme-http-01", "free.example", *options)
    assert refused.returncode == 1
    assert "REFUSED" in refused.stdout
    assert "404" in refused.stdout
    assert (
        mpicctl(appliance, "check", "acme-dns-01", "free.example", "--key-authorization-hash", DIGEST).returncode == 1
    )


def test_what_cannot_be_asked(appliance: Appliance, tmp_path: Path) -> None:
    malformed = mpicctl(appliance, "check", "caa", "a b")
    assert malformed.returncode == 2
    assert "domain_or_ip_target" in malformed.stderr
    assert mpicctl(appliance, "check", "caa").returncode == 2
    assert mpicctl(appliance, "chekc").returncode == 2
    nobody = mpicctl(appliance, "--socket", str(tmp_path / "absent.sock"), "status")
    assert nobody.returncode == 2
    assert "systemctl status mpicd" in nobody.stderr
    assert nobody.stdout == ""


def test_config_check(appliance: Appliance, tmp_path: Path) -> None:
    assert as_json(appliance, "config", "check")["ok"] is True
    broken = tmp_path / "appliance.toml"
    text = appliance.config.read_text()
    broken.write_text(text.replace('code = "nyc"', 'code = "ams"'))
    done = subprocess.run(
        [str(MPICCTL), "--config", str(broken), "config", "check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{broken}: perspectives.1.code" in done.stdout.replace("\n", "")
    broken.write_text(text.replace('country = "US"', 'country = "IL"'))
    done = subprocess.run(
        [str(MPICCTL), "--config", str(broken), "config", "check", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    problems = json.loads(done.stdout)["problems"]
    assert problems
    assert all(".place.country: " in line and "lies in US (United States of America)" in line for line in problems)


def test_config_check_names_what_proves_nothing(appliance: Appliance, tmp_path: Path) -> None:
    document = tomllib.loads(appliance.config.read_text())
    document["anchors"].append({"url": "http://anchor.example/"})
    document["perspectives"][0]["attested_on"] = "2019-03-01"
    changed = tmp_path / "appliance.toml"

    def check() -> dict[str, Any]:
        changed.write_text(toml(document))
        argv = [str(MPICCTL), "--config", str(changed), "config", "check", "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        told: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if told["ok"] else 1)
        return told

    told = check()
    assert told["ok"] is True
    keys = [line.partition(": ")[0] for line in told["warnings"]]
    assert {f"anchors.{len(document['anchors']) - 1}.url", "perspectives.0.attested_on"} <= set(keys)
    assert {"targets.special_purpose_exceptions", "targets.special_use_exceptions"} <= set(keys)
    document["perspectives"][0]["attested_on"] = "2999-01-01"
    document["anchors"][0]["ca_file"] = str(tmp_path / "absent.pem")
    told = check()
    assert told["ok"] is False
    assert [line for line in told["problems"] if "attested_on" in line and "lies in the future" in line]
    assert [line for line in told["problems"] if "anchors.0.ca_file" in line and "No such file" in line]
