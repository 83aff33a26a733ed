"""Entries of others' perspectives, held at each look against what they report now."""

from __future__ import annotations

from pathlib import Path

from appliance.config import Settings
from appliance.coordinator.partners import Partners
from appliance.coordinator.perspectives import Perspectives
from appliance.coordinator.proofs import Standing
from appliance.coordinator.tunnels import TunnelWatch
from appliance.model.health import WorkerStatus
from tests.unit.coordinator.configuration import document


class Told(Perspectives):
    """Perspectives that report `addresses`, by code."""

    def __init__(self, directory: Path) -> None:
        super().__init__({}, TunnelWatch(directory / "tunnels.json"))
        self.workers: dict[str, WorkerStatus] = {}

    def tell(self, code: str, *addresses: str, authenticated: bool = False) -> None:
        """A new status of `code`. `authenticated`: the anchors that saw the addresses showed a certificate."""
        proven = addresses if authenticated else ()
        self.workers[code] = WorkerStatus(code, True, (), addresses, None, None, 0, authenticated_addresses=proven)

    def worker(self, code: str) -> WorkerStatus | None:
        """As told."""
        return self.workers.get(code)


def configured(directory: Path) -> Settings:
    written = document(directory)
    entry = {"provider": "partner", "upstreams": [64500], "origin_asn": 64501, "certificate_file": "/c"}
    written["remote_perspectives"] = [
        entry
        | {
            "code": f"their-{index}",
            "place": written["perspectives"][index]["place"],
            "egress_addresses": [f"203.0.113.{index + 1}"],
            "url": f"https://partner.example/perspectives/p{index}",
            "private_key_file": "/k",
            "ca_file": "/a",
        }
        for index in range(3)
    ]
    return Settings.model_validate(written)


def test_each_look_is_held_against_what_is_reported_now(tmp_path: Path) -> None:
    told = Told(tmp_path)
    partners = Partners(configured(tmp_path), told)
    below = {"ams": Standing("hand-off proof place failed")}

    def withheld() -> dict[str, str]:
        return {code: one.withheld for code, one in partners.over(below).items() if one.withheld is not None}

    assert set(withheld()) == {"ams"}, "who does not answer is down, and not withheld"
    for index in range(3):
        told.tell(f"their-{index}", f"203.0.113.{index + 1}")
    assert set(withheld()) == {"ams"}
    assert partners.over(below) is partners.over(below), "computed again only if somebody says something new"
    told.tell("their-1", "203.0.113.1")
    assert set(withheld()) == {"ams", "their-0", "their-1"}
    assert "is also that of their-1" in withheld()["their-0"]
    told.tell("their-1", "203.0.113.2")
    assert set(withheld()) == {"ams"}
    told.tell("their-2")
    assert "reports no egress address" in withheld()["their-2"]
    told.tell("their-2", "203.0.113.3")
    # Behind a NAT the primary's address is only what the anchors see; what they do not prove, anybody may have forged.
    told.tell("home", "203.0.113.3")
    assert withheld().keys() == {"ams"}
    told.tell("home", "203.0.113.3", authenticated=True)
    assert withheld().keys() == {"ams", "their-2"}
    assert "is also that of home" in withheld()["their-2"]
    told.tell("home", "192.0.2.10")
    told.tell("their-0", "198.51.100.1")
    assert "is also that of ams" in withheld()["their-0"]
