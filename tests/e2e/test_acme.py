"""A real ACME server asks the appliance before it issues: a real ACME client gets a certificate only where `is_valid` is said."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from appliance.evidence.reading import reading
from appliance.evidence.record import DecisionRecord
from appliance.evidence.schema import RECORDS
from tests.e2e.acme import AcmeCa, acme_ca
from tests.lab import Lab, wait_until
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e
NAME = "honest.example"


@pytest.fixture(scope="module")
def ca(lab: Lab, appliance: Appliance) -> Iterator[AcmeCa]:
    with acme_ca(lab, appliance) as running:
        yield running


def newest(appliance: Appliance, count: int) -> list[DecisionRecord]:
    """The last decisions, the oldest first."""
    last = select(RECORDS.c.record).where(RECORDS.c.kind == "decision").order_by(RECORDS.c.seq.desc()).limit(count)
    with reading(appliance.settings.database) as connection:
        rows = connection.execute(last).all()
    return [msgspec.json.decode(row.record, type=DecisionRecord) for row in reversed(rows)]


def test_an_honest_order_is_issued(ca: AcmeCa, appliance: Appliance) -> None:
    before = len(ca.issued())
    done = ca.http_01("quay", NAME)
    assert done.returncode == 0, done.stdout + done.stderr + ca.log.read_text()
    ca.certificate("quay", NAME).verify_directly_issued_by(ca.root())
    assert ca.issued()[before:] == [[NAME]]
    control, caa = newest(appliance, 2)
    assert [control.method, caa.method] == ["acme-http-01", "caa"]
    assert control.verdict.is_valid
    assert caa.verdict.is_valid


def test_a_hijackers_order_is_refused(lab: Lab, ca: AcmeCa, appliance: Appliance) -> None:
    before = ca.issued()
    lab.hijack("equal-prefix")
    done = ca.http_01("mallory", NAME)
    assert done.returncode != 0
    assert ca.issued() == before
    with pytest.raises(FileNotFoundError):
        ca.certificate("mallory", NAME)
    (control,) = newest(appliance, 1)
    assert not control.verdict.is_valid
    assert control.verdict.quorum == "2/6"
    assert control.primary is not None
    assert control.primary.observation.corroborates, "the CA's own validation alone would have been deceived"
    assert f"{NAME}: dcv not corroborated, 2/6" in ca.log.read_text()
    lab.withdraw()
    assert ca.http_01("quay", NAME).returncode == 0, "the hijack left nothing behind"


def test_caa_forbids_what_domain_control_would_permit(ca: AcmeCa, appliance: Appliance) -> None:
    before = ca.issued()
    done = ca.http_01("quay", "forbidden.example")
    assert done.returncode != 0
    assert ca.issued() == before
    control, caa = newest(appliance, 2)
    assert control.verdict.is_valid
    assert not caa.verdict.is_valid


def test_a_wildcard_by_dns(lab: Lab, ca: AcmeCa, appliance: Appliance) -> None:
    before = len(ca.issued())
    done = ca.dns_01("quay", NAME, f"*.{NAME}")
    lab.clear_txt(f"_acme-challenge.{NAME}")
    assert done.returncode == 0, done.stdout + done.stderr + ca.log.read_text()
    assert ca.issued()[before:] == [[f"*.{NAME}", NAME]]
    asked = [(one.method.value, one.identifier.wildcard) for one in newest(appliance, 4)]
    assert sorted(asked)[-2:] == [("caa", False), ("caa", True)]


def test_without_the_appliance_nothing_is_issued(ca: AcmeCa, appliance: Appliance) -> None:
    before = ca.issued()
    appliance.kill("mpicd", signal.SIGTERM)
    try:
        done = ca.http_01("quay", NAME)
    finally:
        appliance.start_coordinator()
        wait_until(appliance.ready, 30, "the coordinator is back")
    assert done.returncode != 0
    assert ca.issued() == before


@pytest.mark.parametrize(
    ("line", "changed", "complaint"),
    [
        ("hooks_module: ", "hooks_module: /absent", "[Hooks] hooks_module"),
        ("[Hooks]", "[Hooks]\nignore_pre_hook_failure: True", "ignore_pre_hook_failure"),
        ("[Challenge]", "[Challenge]\nchallenge_validation_disable: True", "challenge_validation_disable"),
    ],
)
def test_a_server_that_would_issue_without_the_appliance_does_not_start(
    ca: AcmeCa, tmp_path: Path, line: str, changed: str, complaint: str
) -> None:
    configuration = tmp_path / "acme_srv.cfg"
    configuration.write_text((ca.directory / "acme_srv.cfg").read_text().replace(line, changed))
    started = ca.load(configuration)
    assert started.returncode == 1
    assert complaint in started.stderr
