"""What `mpicctl status` shows of egress nodes."""

from __future__ import annotations

import io
import time

import msgspec
import pytest
from rich.console import Console

from appliance.cli.status import status_view
from appliance.model.egress import EgressStatus, EgressTunnel
from appliance.model.health import WorkerStatus
from appliance.model.place import Place, Rir
from appliance.model.status import ApplianceStatus, Neighbour, PerspectiveStatus, PolicyStatus, Readiness
from appliance.policy.br_table import ROWS

SAID = EgressStatus(
    version="0.1.0",
    kernel="6.1.0-50-cloud-amd64",
    written_s=int(time.time()),
    problems=("sysctl net/ipv4/ip_forward=1: not as configured",),
    warnings=("clock: not synchronised\x1b[2J",),
    tunnel=EgressTunnel("wg-mpic", "kernel"),
    clock_synchronised=False,
    security_updates=3,
    conntrack_permille=129,
)


def shown(said: EgressStatus | None) -> str:
    place = Place("Amsterdam", "NL", 52370000, 4900000)
    worker = WorkerStatus("ams", True, (), ("198.51.100.1",), None, 1000, 1, egress=said)
    remote = PerspectiveStatus(
        code="ams", primary=False, place=place, rir=Rir.RIPE_NCC, provider="", nearest=Neighbour("hq", 2_000_000), ready=True,
        reason="", expected_egress_addresses=("198.51.100.1",), handshake_age_s=5, tunnel=None, worker=worker,
        last_check=None, healthy=True, drained=None, in_flight=0,
    )  # fmt: skip
    told = ApplianceStatus(
        version="0.1.0", time="", started_at="", configuration_sha256="", readiness=Readiness(True, (), ()),
        policy=PolicyStatus("2.2.6", "3.2.2.9", "2026-11-22", ROWS[0], (), None, ()), primary_kind="local",
        primary=msgspec.structs.replace(remote, code="hq", primary=True, worker=None), perspectives=(remote,),
        perspectives_ready=1, in_flight=0, decisions=0,
    )  # fmt: skip
    output = io.StringIO()
    Console(file=output, width=200, highlight=False, markup=False).print(*status_view(told), sep="\n")
    return output.getvalue()


@pytest.mark.parametrize(
    "words",
    [
        "ams's egress node: mpic-egress 0.1.0, Linux 6.1.0-50-cloud-amd64, WireGuard kernel, clock NOT synchronised,",
        "3 security updates, connection table 12 %",
        "ams's egress node: wrong: sysctl net/ipv4/ip_forward=1: not as configured",
        "ams's egress node: clock: not synchronised\\x1b[2J",
    ],
)
def test_what_a_node_says_is_shown_and_nothing_of_it_reaches_the_terminal_raw(words: str) -> None:
    assert words in shown(SAID)


def test_a_node_that_says_nothing_is_not_shown() -> None:
    assert "egress node" not in shown(None)
