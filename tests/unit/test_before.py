"""What the versions before wrote is read, and goes on."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest

from appliance.api.callers.register import Register
from appliance.config import load
from appliance.evidence import EvidenceWriter
from appliance.evidence.audit import Scope, verify_store
from egress.config import load as load_egress
from tests.before import API_KEY, HERE, RECORDS, VERSIONS, lay
from tests.unit.evidence.samples import event

pytestmark = pytest.mark.parametrize("version", VERSIONS)


def store_of(version: str, directory: Path) -> Path:
    lay(version, directory)
    return directory / "evidence" / "evidence.sqlite"


def test_its_configuration_is_read(version: str) -> None:
    settings = load(HERE / version / "appliance.toml")
    assert len(settings.perspectives) == 6


def test_its_egress_configuration_is_read(version: str, tmp_path: Path) -> None:
    text = (HERE / version / "egress.toml").read_text()
    key = tomllib.loads(text)["interfaces"][0]["private_key_file"]
    (tmp_path / "key").write_text("qDGy5PzbxCuFRzTcGoSqeeY6oZjLSFZsVtUKVpIyLEo=\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "egress.toml").write_text(text.replace(key, str(tmp_path / "key")))
    assert load_egress(tmp_path / "egress.toml").interfaces[0].peers


def test_its_store_verifies_and_replays_to_the_last_record(version: str, tmp_path: Path) -> None:
    report = verify_store(store_of(version, tmp_path), Scope(deep=True, replay=True))
    assert report.ok, report
    assert report.records == RECORDS[version]


async def test_the_chain_goes_on_in_its_store(version: str, tmp_path: Path) -> None:
    store = store_of(version, tmp_path)
    writer = EvidenceWriter.open(store)
    receipt = await asyncio.wait_for(writer.submit(event(0)), timeout=10)
    await writer.close()
    assert receipt.seq == RECORDS[version] + 1
    report = verify_store(store, Scope(deep=True, replay=True))
    assert (report.ok, report.records) == (True, RECORDS[version] + 1), report


def test_its_callers_are_known(version: str, tmp_path: Path) -> None:
    lay(version, tmp_path)
    entry = Register(tmp_path / "coordinator" / "callers.json").by_key(API_KEY)
    assert entry is not None
    assert entry.name == "ra-one"
