"""What is fetched replaces what is there only where it is whole, in form, in time, and not a step back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from appliance.daemons.feed import main
from appliance.rpki.beacons import PUBLIC_BEACONS
from appliance.rpki.feed import FetchFailed, fetch_beacons, fetch_vrps

NOW = datetime.now(UTC)


def export(count: int = 4, age: timedelta = timedelta(minutes=5)) -> bytes:
    roas = [{"asn": 64500 + n, "prefix": f"192.0.{n}.0/24", "maxLength": 24} for n in range(count)]
    return json.dumps({"metadata": {"buildtime": (NOW - age).isoformat()}, "roas": roas}).encode()


class Origin:
    """A web server that answers everything with `body`."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = export()
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(origin.status)
                for name, value in {"Content-Length": str(len(origin.body)), **origin.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(origin.body)

            def log_message(self, *_: Any) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/vrps.json"


@pytest.fixture
def origin() -> Iterator[Origin]:
    made = Origin()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_an_export_is_put_in_place_and_nothing_is_left_beside_it(origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "vrps.json"
    assert fetch_vrps(origin.url, path, timeout_s=5) == 4
    assert path.read_bytes() == origin.body
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["vrps.json"]


@pytest.mark.parametrize(
    ("body", "status", "headers", "why"),
    [
        (b"<html>", 200, {}, "not a VRP export"),
        (export(0), 200, {}, "no VRP"),
        (export(1), 200, {}, "1 VRPs after 4"),
        (export(4, timedelta(hours=1)), 200, {}, "before the one that is there"),
        (export(4, timedelta(hours=-1)), 200, {}, "in the future"),
        (export(), 500, {}, "status 500"),
        (export(), 302, {"Location": "http://127.0.0.1:1/"}, "status 302"),
        (export(), 200, {"Content-Encoding": "gzip"}, "compressed"),
        (export(400), 200, {}, "more than 20000 bytes"),
        (export(), 200, {"Content-Length": "9999"}, "vrps.json"),
    ],
)
def test_what_is_not_fit_leaves_what_is_there(
    origin: Origin, tmp_path: Path, body: bytes, status: int, headers: dict[str, str], why: str
) -> None:
    path = tmp_path / "vrps.json"
    fetch_vrps(origin.url, path, timeout_s=5)
    before = path.read_bytes()
    origin.body, origin.status, origin.headers = body, status, headers
    with pytest.raises(FetchFailed, match=why):
        fetch_vrps(origin.url, path, timeout_s=2, max_bytes=20000)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["vrps.json"]


def test_beacons_are_fetched_by_the_same_rules(origin: Origin, tmp_path: Path) -> None:
    path = tmp_path / "beacons.json"
    origin.body = PUBLIC_BEACONS.read_bytes()
    assert fetch_beacons(origin.url, path, timeout_s=5) >= 2
    origin.body = b'{"beacons": []}'
    with pytest.raises(FetchFailed, match="no beacon"):
        fetch_beacons(origin.url, path, timeout_s=5)
    assert path.read_bytes() == PUBLIC_BEACONS.read_bytes()


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match=r"vrps\.json"):
        fetch_vrps("http://127.0.0.1:9/", tmp_path / "vrps.json", timeout_s=2)


def test_mpic_feed_refuses_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 77
    assert "root" in capsys.readouterr().err
