"""Times to authenticated anchors: what counts, and when it counts no more."""

from __future__ import annotations

import asyncio
import threading
from ipaddress import ip_address
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.model.proof import Measured, RoundTrip
from appliance.perspective.assignment import assignment_of
from appliance.perspective.round_trips import (
    EchoAnchor,
    Round,
    RoundTrips,
    combined,
    echo_anchors,
    round_trip_us,
)
from egress.echo import listening, serve
from tests.unit.perspective.configured import PLACE, settings

AT = "2026-11-21T12:00:00Z"


def anchor(key: Ed25519PrivateKey, served_with: Ed25519PrivateKey, name: str = "near") -> EchoAnchor:
    opened = listening("127.0.0.1", 0)
    threading.Thread(target=serve, args=(opened, served_with), daemon=True).start()
    return EchoAnchor(name, ip_address("127.0.0.1"), opened.getsockname()[1], key.public_key())


async def test_only_the_holder_of_the_key_counts() -> None:
    key = Ed25519PrivateKey.generate()
    answered = await round_trip_us(anchor(key, key), 10)
    assert answered is not None
    assert answered > 0
    assert await round_trip_us(anchor(key, Ed25519PrivateKey.generate()), 0.2) is None


async def test_times_from_before_a_break_do_not_count() -> None:
    key = Ed25519PrivateKey.generate()
    assignment = assignment_of(settings(), "home")
    epoch: list[int | None] = [1]
    trips = RoundTrips(assignment, (anchor(key, key),), lambda: epoch[0])
    seen: asyncio.Queue[Measured | None] = asyncio.Queue()
    running = asyncio.create_task(trips.run(0.05, lambda: seen.put_nowait(trips.measured())))
    try:
        assert trips.measured() is None
        first = await asyncio.wait_for(seen.get(), 10)
        assert first is not None
        assert first.tunnel_us == 0
        assert [trip.anchor for trip in first.round_trips] == ["near"]
        epoch[0] = None
        assert trips.measured() is None, "the path is broken"
        epoch[0] = 2
        assert trips.measured() is None, "and may lead elsewhere since"
        while (after := await asyncio.wait_for(seen.get(), 10)) is None or after.rounds != 1:
            pass
    finally:
        running.cancel()


def test_the_smallest_of_each_over_the_rounds() -> None:
    rounds = [Round(900, {"fra": (1500, 1400), "iad": ()}), Round(1000, {"fra": (1450,), "iad": (9000,)})]
    assert combined(rounds, AT) == Measured(AT, 2, 900, (RoundTrip("fra", 1400, 3), RoundTrip("iad", 9000, 1)))
    assert combined([], AT) is None


def test_every_other_perspective_and_every_configured_anchor() -> None:
    document: dict[str, Any] = settings().model_dump(mode="json")
    document["perspectives"][0]["echo"] = {"address": "198.18.5.5", "public_key": "A" * 43 + "="}
    document["place_anchors"] = [
        {"name": "fra", "place": PLACE, "address": "198.18.1.80", "port": 7, "public_key": "B" * 42 + "A="}
    ]
    both = settings(**{key: document[key] for key in ("perspectives", "place_anchors")})
    assert [one.name for one in echo_anchors(both, assignment_of(both, "home"))] == ["fra", "ams"]
    assert [one.name for one in echo_anchors(both, assignment_of(both, "ams"))] == ["fra"], "not itself"
