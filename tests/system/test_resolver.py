"""The rendered unbound.conf, by what a real unbound does with it: without privileges, in a namespace, under a signed root."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config.schema import IANA_ROOT_ANCHORS, Settings
from appliance.perspective.assignment import assignment_of
from appliance.perspective.prepare import prepare
from appliance.perspective.resolver import resolver_paths
from tests.lab.wait import wait_until
from tests.system.perspective_site import CODE, FAR, INSIDE, LIMIT_S, RESOLVER, WEB, Site, site

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Site, subprocess.Popen[str]]]:
    with site() as made:
        process = made.start_resolver()
        wait_until(lambda: "NOERROR" in made.dig(".", "NS"), LIMIT_S, "the resolver knows the root")
        yield made, process


@pytest.fixture
def made(running: tuple[Site, subprocess.Popen[str]]) -> Site:
    return running[0]


def _ttl(answer: str, owner: str) -> int:
    found = re.search(rf"^{re.escape(owner)}\s+(\d+)\s+IN", answer, re.MULTILINE)
    assert found is not None, answer
    return int(found[1])


def test_it_runs_without_privileges_and_listens_on_loopback_alone(running: tuple[Site, subprocess.Popen[str]]) -> None:
    _, process = running
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert f"Uid:\t{RESOLVER}\t{RESOLVER}\t{RESOLVER}\t{RESOLVER}" in status
    assert re.search(r"^CapPrm:\t0+$", status, re.MULTILINE)
    command = ["ip", "netns", "exec", INSIDE, "ss", "-Hlnut"]
    listening = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert {line.split()[4] for line in listening.splitlines()} == {"127.0.0.1:5335"}


def test_answers_are_validated_and_forgotten_within_the_limit(made: Site) -> None:
    answer = made.dig("www.test", "A")
    assert WEB[0] in answer
    assert re.search(r"flags:[^;]* ad[ ;]", answer)
    assert _ttl(answer, "www.test.") <= 60
    missing = made.dig("nothing.test", "A")
    assert "NXDOMAIN" in missing
    assert _ttl(missing, ".") <= 60


def test_what_does_not_validate_is_refused_with_its_reason(made: Site) -> None:
    answer = made.dig("bogus.test", "TXT")
    assert "SERVFAIL" in answer
    assert "EDE: 10" in answer
    assert "its signature is missing" not in answer


def test_name_servers_at_special_purpose_addresses_are_not_asked(made: Site) -> None:
    assert "SERVFAIL" in made.dig("x.hostile.test", "A")
    assert made.requests("ear") == []
    direct = ["ip", "netns", "exec", INSIDE, "dig", f"@{FAR[0]}", "control.test", "+tries=1", "+time=1"]
    subprocess.run(direct, check=False, capture_output=True)
    wait_until(lambda: made.requests("ear"), LIMIT_S, "the ear hears what does come")


def test_nothing_of_the_queries_is_in_its_log(made: Site) -> None:
    made.dig("secret-name.test", "A")
    made.dig("bogus.test", "A")
    log = (made.directory / "unbound.log").read_text()
    assert "start of service" in log
    assert "test" not in log


def test_it_keeps_rfc_5011_state_of_its_own(made: Site) -> None:
    anchor = resolver_paths(made.settings, CODE).trust_anchor
    wait_until(lambda: "VALID" in anchor.read_text(), LIMIT_S, "the root's key is followed")
    state = anchor.read_text()
    prepare(made.settings, assignment_of(made.settings, CODE))
    assert anchor.read_text() == state
    assert anchor.stat().st_uid == RESOLVER


def test_other_configured_anchors_replace_the_state(tmp_path: Path) -> None:
    with site() as made:
        assignment = assignment_of(made.settings, CODE)
        anchor = resolver_paths(made.settings, CODE).trust_anchor
        prepare(made.settings, assignment)
        anchor.write_text("state")
        made.settings.resolver.trust_anchor_file.write_bytes(IANA_ROOT_ANCHORS.read_bytes())
        prepare(made.settings, assignment)
        assert anchor.read_bytes() == IANA_ROOT_ANCHORS.read_bytes()


def test_unbound_accepts_the_shipped_root_keys(tmp_path: Path) -> None:
    with site() as made:
        document = made.settings.model_dump() | {"resolver": {"port": 5353}}
        settings = Settings.model_validate(document)
        prepare(settings, assignment_of(settings, CODE))
        path = resolver_paths(settings, CODE).configuration
        checked = subprocess.run(["unbound-checkconf", str(path)], check=False, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        assert "no errors" in checked.stdout
        assert "38696" in resolver_paths(settings, CODE).trust_anchor.read_text()
