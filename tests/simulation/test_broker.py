"""The broker goes away and comes back; the service is killed, and started again."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.edge.mqtt_broker import Broker, Listener, broker
from tests.edge.service import LIVE, Running, start, until
from tests.simulation.conftest import Measured
from tests.simulation.watching import Reader

__all__ = ["broker", "start"]  # fixtures

RATE_HZ = 100
AWAY_S = 2.0
PREFIX = "cfvgg/pi"


def test_the_broker_goes_and_comes_back_and_the_service_is_killed(
    start: Callable[..., Running], broker: Broker, measured: Measured
) -> None:
    options = ["--device-name", "pi"]
    for setting in (f"port={broker.port}", 'host="127.0.0.1"', "max_rate_hz=0", "reconnect_max_s=1"):
        options += ["--set", f"mqtt.{setting}"]
    uri = f"{LIVE}&rate_hz={RATE_HZ}"
    listener = Listener(broker.port, f"{PREFIX}/#")

    def track() -> list[int]:
        return [json.loads(payload)["frame"] for payload in listener.of(f"{PREFIX}/track")]

    def state() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(listener.last(f"{PREFIX}/state") or b"{}")
        return found

    service = start(*options, uri=uri)
    until(track, "records from the broker")
    reader = Reader(service.runtime / "tracks.sock")
    broker.stop()  # in order, so that it keeps what its listener has not got yet
    service.ask(command="select", box=[60, 60, 40, 40])
    time.sleep(AWAY_S)
    away = len(track())
    broker.start()
    start_s = time.monotonic()
    until(lambda: listener.last(f"{PREFIX}/availability") == b"online" and len(track()) > away, "records")
    measured("broker away for 2 s", "until records come again, s", time.monotonic() - start_s, 20)
    until(lambda: state()["state"] != "searching", "the state of a target selected meanwhile")
    assert state()["track_id"] == 1
    measured("broker away for 2 s", "until the state is right, s", time.monotonic() - start_s, 25)
    newest = reader.records[-1]["frame"]
    until(lambda: track()[-1] > newest, "what was kept back")
    found = track()
    assert found == sorted(set(found))
    sent_meanwhile = {record["frame"] for record in reader.records if record["frame"] <= newest}
    measured("broker away for 2 s", "records lost", len(sent_meanwhile - set(found)), RATE_HZ / 2)
    measured(
        "broker away for 2 s",
        "counted as lost",
        service.status()["publishers"]["mqtt"]["dropped"],
        RATE_HZ / 2,
    )
    frames = [record["frame"] for record in reader.records]
    gaps = max(b - a for a, b in itertools.pairwise(frames))
    measured("broker away for 2 s", "longest gap in the loop, s", gaps / RATE_HZ, 1.0)

    start_s = time.monotonic()
    service.end(signal.SIGKILL)
    until(lambda: listener.last(f"{PREFIX}/availability") == b"offline", "the broker's word for it")
    measured("kill -9", "until the broker says offline, s", time.monotonic() - start_s, 5)
    assert reader.ended()
    start_s = time.monotonic()
    again, seen = start(*options, uri=uri), len(track())
    until(lambda: len(track()) > seen, "records of the next process")
    measured("kill -9", "from start to record, s", time.monotonic() - start_s, 30)
    assert again.end() == 0
    until(lambda: listener.last(f"{PREFIX}/availability") == b"stopped", "the end")
    written = again.records()  # each line is whole and valid
    before = {record["t_monotonic_ns"] for record in written}
    lost = sum(record["t_monotonic_ns"] not in before for record in reader.records)
    # The file is written once a second.
    measured("kill -9", "records not yet in the file", lost, RATE_HZ * 3)
    assert "Traceback" not in again.text()
    listener.close()
