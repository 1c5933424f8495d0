from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_runtime.publishers.mqtt import MqttSink, StateChanges
from edge_runtime.publishers.queued import CLOSE_S, Queued
from edge_runtime.publishers.settings import MqttConfig
from edge_runtime.publishers.topics import Topics, command_of, discovery
from edge_runtime.types import TrackState
from tests.edge.mqtt_broker import MOSQUITTO, Broker, Listener, broker
from tests.edge.publishing import frames, messages, record, wait_for

__all__ = ["broker"]  # a fixture

ROOT = Path(__file__).parents[2]
TOPICS = Topics.of("cfvgg", "pi")


class Obeying:
    """A `Handle` that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []

    def __call__(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.told.append(request)
        if request["command"] == "break":
            raise RuntimeError("a bug")
        if request["command"] in ("select", "clear", "pause", "resume"):
            return {"ok": True}
        return {"ok": False, "error": f"unknown command {request['command']!r}"}


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    made = Listener(broker.port)
    yield made
    made.close()


def publishing(config: MqttConfig, handle: Obeying | None = None) -> tuple[Queued, MqttSink]:
    sink = MqttSink(config, "pi", handle or Obeying())
    return Queued(sink, wanted=sink.wanted), sink


def test_a_run_is_announced_told_and_ended(broker: Broker, listener: Listener) -> None:
    publisher, _ = publishing(broker.config())
    for frame in range(5):
        publisher.publish(record(frame, "searching"))
    for frame in range(5, 100):
        publisher.publish(record(frame, confidence=0.9 + frame / 10_000))
    publisher.publish(record(100, "uncertain"))
    wait_for(lambda: len(listener.of(TOPICS.track)) == 101)
    publisher.close()
    wait_for(lambda: listener.last(TOPICS.availability) == b"stopped")
    assert frames(listener.of(TOPICS.track)) == list(range(101))
    assert listener.of(TOPICS.availability) == [b"online", b"stopped"]
    assert [json.loads(payload) for payload in listener.of(TOPICS.state)] == [
        {"state": "searching", "track_id": 1, "confidence": None, "t_unix": 1.7e9},
        {"state": "tracking", "track_id": 1, "confidence": 0.9005, "t_unix": 1.7e9 + 5},
        {"state": "uncertain", "track_id": 1, "confidence": 0.9, "t_unix": 1.7e9 + 100},
    ]
    assert (publisher.name, publisher.sent, publisher.dropped) == ("mqtt", 101, 0)
    # Whoever comes later finds what is kept, and no track record.
    late = Listener(broker.port, name="late")
    wait_for(lambda: len(late.messages) == 3)
    late.close()
    kept = {topic: payload for topic, payload, retained in late.messages if retained}
    assert set(kept) == {TOPICS.availability, TOPICS.state, "homeassistant/device/cfvgg_pi/config"}
    assert kept[TOPICS.availability] == b"stopped"
    assert json.loads(kept[TOPICS.state])["state"] == "uncertain"


def test_home_assistant_is_told_what_it_needs(broker: Broker, listener: Listener) -> None:
    publisher, _ = publishing(broker.config())
    wait_for(lambda: listener.last("homeassistant/device/cfvgg_pi/config"))
    publisher.close()
    payload = listener.last("homeassistant/device/cfvgg_pi/config")
    assert payload is not None
    document = json.loads(payload)
    assert document == discovery("pi", TOPICS)
    assert document["device"]["identifiers"] == ["cfvgg_pi"]
    assert document["origin"]["name"] == "cfvgg"
    assert [entry["topic"] for entry in document["availability"]] == [TOPICS.availability]
    components = document["components"]
    assert {name: component["platform"] for name, component in components.items()} == {
        "state": "sensor",
        "confidence": "sensor",
        "track_id": "sensor",
        "visible": "binary_sensor",
        "clear": "button",
        "pause": "button",
        "resume": "button",
    }
    # Every component needs these; sensors have the topic of the whole device.
    assert all(component["unique_id"] == f"cfvgg_pi_{name}" for name, component in components.items())
    assert all(component["name"] for component in components.values())
    assert document["state_topic"] == TOPICS.state
    for name, component in components.items():
        if component["platform"] == "button":
            assert component["command_topic"] == f"cfvgg/pi/set/{name}"
        else:
            assert component["value_template"].startswith("{{ ")
            assert component["value_template"].endswith(" }}")
    assert components["state"]["options"] == [state.value for state in TrackState]


def test_templates_show_what_the_state_says() -> None:
    jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed")
    document = discovery("pi", TOPICS)
    environment = jinja2.Environment()

    def shown(name: str, **state: Any) -> str:
        template = environment.from_string(document["components"][name]["value_template"])
        return str(template.render(value_json=state))

    assert [shown("visible", state=state.value) for state in TrackState] == ["OFF", "ON", "OFF", "OFF", "ON"]
    assert shown("confidence", confidence=0.876) == "88.0"
    assert shown("confidence", confidence=None) == "None"
    assert shown("track_id", track_id=3) == "3"
    available = environment.from_string(document["availability"][0]["value_template"])
    assert [available.render(value=value) for value in ("online", "offline", "stopped")] == [
        "online",
        "offline",
        "offline",
    ]


def test_no_discovery_if_none_is_wanted(broker: Broker, listener: Listener) -> None:
    publisher, _ = publishing(broker.config(discovery_prefix="", topic="barn/trackers"))
    publisher.publish(record(0))
    wait_for(lambda: publisher.sent == 1)
    publisher.close()
    wait_for(lambda: listener.last("barn/trackers/pi/availability") == b"stopped")
    assert {topic.rpartition("/")[0] for topic, _, _ in listener.messages} == {"barn/trackers/pi"}


def test_a_killed_process_is_offline(broker: Broker, listener: Listener) -> None:
    code = """
import itertools, sys, time
from edge_runtime.publishers.mqtt import MqttSink
from edge_runtime.publishers.queued import Queued
from edge_runtime.publishers.settings import MqttConfig
from tests.edge.publishing import record
sink = MqttSink(MqttConfig("127.0.0.1", int(sys.argv[1]), max_rate_hz=0.0), "pi", lambda _: {"ok": True})
publisher = Queued(sink, wanted=sink.wanted)
for frame in itertools.count():
    publisher.publish(record(frame))
    time.sleep(0.002)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(broker.port)], cwd=ROOT)
    wait_for(lambda: len(listener.of(TOPICS.track)) > 20)
    assert listener.of(TOPICS.availability) == [b"online"]
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    # The broker sees the connection end at once; only a device that vanishes takes the keep-alive time.
    assert wait_for(lambda: listener.last(TOPICS.availability) == b"offline") < 10
    found = frames(listener.of(TOPICS.track))
    assert found == list(range(len(found)))
    late = Listener(broker.port, TOPICS.availability, "late")
    wait_for(lambda: late.messages)
    late.close()
    assert late.messages == [(TOPICS.availability, b"offline", True)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_broker_that_goes_and_comes_back(
    broker: Broker, listener: Listener, caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    publisher, sink = publishing(broker.config(reconnect_max_s=1))
    frame, down_at = 0, 100
    while frame < down_at:
        publisher.publish(record(frame))
        frame += 1
        time.sleep(0.002)
    wait_for(lambda: len(listener.of(TOPICS.track)) == down_at)
    broker.stop(number)
    # Down for 200 frames, whose records wait, and a change of state that nobody sees.
    for _ in range(200):
        publisher.publish(record(frame, "lost"))
        frame += 1
        time.sleep(0.005)
    broker.start()
    recovery_s = wait_for(lambda: sink._ready)
    assert recovery_s < 20
    wait_for(lambda: publisher.sent + publisher.dropped == frame)
    publisher.publish(record(frame, "lost"))
    frame += 1
    wait_for(lambda: frame - 1 in frames(listener.of(TOPICS.track)[-1:]))
    publisher.close()
    wait_for(lambda: listener.last(TOPICS.availability) == b"stopped")
    found = frames(listener.of(TOPICS.track))
    assert found == sorted(set(found))
    assert publisher.sent + publisher.dropped == frame
    # Lost is at most what was being sent when the broker went.
    assert publisher.dropped <= 2
    if number == signal.SIGTERM:
        # The broker kept the listener's session, so that it shows every record that arrived.
        assert len(found) >= frame - 4
    state = listener.last(TOPICS.state)
    assert state is not None
    assert json.loads(state)["state"] == "lost"
    assert listener.of(TOPICS.availability)[-2:] == [b"online", b"stopped"]
    warnings = messages(caplog)
    assert any("broke" in text or "cannot be reached" in text for text in warnings)
    assert len(warnings) <= 4


def test_the_last_state_is_sent_again_to_a_broker_that_forgot_it(broker: Broker, tmp_path: Path) -> None:
    publisher, _ = publishing(broker.config(reconnect_max_s=1))
    publisher.publish(record(0, "uncertain"))
    wait_for(lambda: publisher.sent == 1)
    broker.stop(signal.SIGKILL)
    (tmp_path / "broker" / "mosquitto.db").unlink(missing_ok=True)
    broker.start()
    listening = Listener(broker.port)
    # Nothing is published meanwhile: it comes by itself.
    wait_for(lambda: listening.last(TOPICS.state))
    assert json.loads(listening.last(TOPICS.state) or b"")["state"] == "uncertain"
    assert listening.last(TOPICS.availability) == b"online"
    publisher.close()
    listening.close()


def test_a_broker_that_never_was_costs_nothing_but_records(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    before = threading.active_count()
    sink = MqttSink(MqttConfig("127.0.0.1", 9, max_rate_hz=0.0), "pi", Obeying())
    publisher = Queued(sink, wanted=sink.wanted, queue_records=100)
    longest_s = 0.0
    for frame in range(1000):
        start_s = time.perf_counter()
        publisher.publish(record(frame))
        longest_s = max(longest_s, time.perf_counter() - start_s)
    assert longest_s < 0.5
    wait_for(lambda: any("cannot be reached" in text for text in messages(caplog)))
    start_s = time.monotonic()
    publisher.close()
    assert time.monotonic() - start_s < CLOSE_S + 2
    assert (publisher.sent, publisher.dropped) == (0, 1000)
    expected = "mqtt: 127.0.0.1:9: the MQTT broker cannot be reached ([Errno 111] Connection refused)"
    assert expected in messages(caplog)
    wait_for(lambda: threading.active_count() == before)


def test_a_broker_that_hangs_holds_neither_the_loop_nor_the_end_up(
    broker: Broker, listener: Listener
) -> None:
    publisher, sink = publishing(broker.config())
    publisher.publish(record(0))
    wait_for(lambda: listener.of(TOPICS.track))
    broker.signal(signal.SIGSTOP)
    longest_s, published = 0.0, 1
    # Until the buffers of the connection are full, and the queue after them.
    large = dataclasses.replace(record(0), device="p" * 20_000)
    while not publisher.dropped:
        start_s = time.perf_counter()
        publisher.publish(dataclasses.replace(large, frame=published))
        longest_s = max(longest_s, time.perf_counter() - start_s)
        published += 1
        assert published < 20_000
        time.sleep(0.0005)
    assert longest_s < 0.5
    assert len(sink._in_flight) <= 64
    start_s = time.monotonic()
    publisher.close()
    assert time.monotonic() - start_s < CLOSE_S + 2
    assert publisher.sent + publisher.dropped >= published
    broker.signal(signal.SIGCONT)


def test_commands_are_obeyed_and_answered(broker: Broker, listener: Listener) -> None:
    obeying = Obeying()
    publisher, _ = publishing(broker.config(), obeying)
    wait_for(lambda: listener.last(TOPICS.availability) == b"online")
    good = {"ok": True}
    commands: list[tuple[str, str, Mapping[str, Any] | None, dict[str, Any]]] = [
        ("target", "10,20,30.5,40", {"command": "select", "box": [10, 20, 30.5, 40]}, good),
        ("target", "[1, 2, 3, 4]", {"command": "select", "box": [1, 2, 3, 4]}, good),
        ("target", '{"box": [1, 2, 3, 4]}', {"command": "select", "box": [1, 2, 3, 4]}, good),
        ("clear", "PRESS", {"command": "clear"}, good),
        ("pause", "", {"command": "pause"}, good),
        ("resume", "", {"command": "resume"}, good),
        ("dance", "", {"command": "dance"}, {"ok": False, "error": "unknown command 'dance'"}),
        ("break", "", {"command": "break"}, {"ok": False, "error": "RuntimeError: a bug"}),
        ("target", "here", None, {"ok": False, "error": "b'here' is not a box; give x,y,w,h in pixels"}),
        ("clear", "x" * 5000, None, {"ok": False, "error": "a command has at most 4096 bytes"}),
    ]
    for number, (name, payload, told, reply) in enumerate(commands, 1):
        obeying.told.clear()
        listener.client.publish(f"cfvgg/pi/set/{name}", payload, qos=1)
        wait_for(lambda: len(listener.of(TOPICS.reply)) == number)  # noqa: B023 (called at once)
        assert obeying.told == ([told] if told else [])
        assert json.loads(listener.of(TOPICS.reply)[-1]) == {"command": name} | reply
    # It lives on, whatever it was told.
    publisher.publish(record(0))
    wait_for(lambda: publisher.sent == 1)
    publisher.close()


def test_a_command_that_the_broker_keeps_is_not_obeyed_at_every_reconnection(
    broker: Broker, listener: Listener
) -> None:
    listener.client.publish("cfvgg/pi/set/clear", "", qos=1, retain=False)
    listener.client.publish("cfvgg/pi/set/pause", "x", qos=1, retain=True)
    wait_for(lambda: listener.of("cfvgg/pi/set/pause"))
    obeying = Obeying()
    publisher, _ = publishing(broker.config(), obeying)
    wait_for(lambda: listener.of(TOPICS.reply))
    publisher.close()
    assert obeying.told == []
    reply = json.loads(listener.of(TOPICS.reply)[0])
    assert (reply["command"], reply["ok"]) == ("pause", False)
    assert "retained commands are not obeyed" in reply["error"]


def test_a_password_is_needed_and_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    if MOSQUITTO is None or shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto is not installed")
    users, password = tmp_path / "users", tmp_path / "password"
    subprocess.run(["mosquitto_passwd", "-c", "-b", users, "tracker", "right"], check=True)
    users.chmod(0o644)
    broker = Broker(tmp_path, f"password_file {users}")
    broker.start()
    password.write_text("wrong\n")
    settings = {"user": "tracker", "password_file": str(password)}
    publisher, _ = publishing(broker.config(**settings))
    publisher.publish(record(0))
    wait_for(lambda: any("refuses the connection (Not authorized)" in text for text in messages(caplog)))
    publisher.close()
    password.write_text("right\n")
    publisher, _ = publishing(broker.config(**settings))
    publisher.publish(record(0))
    wait_for(lambda: publisher.sent == 1)
    publisher.close()
    broker.stop()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"", "holds no password"), (b"\xff", "cannot be read")],
)
def test_bad_password_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"password: {message}"):
        MqttSink(MqttConfig("127.0.0.1", 9, user="u", password_file=str(path)), "pi", Obeying())


def certificates(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_tls_with_the_right_and_the_wrong_authority(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    if MOSQUITTO is None or shutil.which("openssl") is None:
        pytest.skip("mosquitto or openssl is not installed")
    certificate, key = certificates(tmp_path, "right")
    other, _ = certificates(tmp_path, "wrong")
    broker = Broker(tmp_path, f"cafile {certificate}", f"certfile {certificate}", f"keyfile {key}")
    broker.start()
    publisher, _ = publishing(broker.config(tls=True, ca_file=str(other)))
    publisher.publish(record(0))
    wait_for(lambda: any("certificate verify failed" in text for text in messages(caplog)))
    publisher.close()
    publisher, _ = publishing(broker.config(tls=True, ca_file=str(certificate)))
    publisher.publish(record(0))
    wait_for(lambda: publisher.sent == 1)
    publisher.close()
    broker.stop()
    with pytest.raises(ConfigError, match=r"none.pem: cannot be used"):
        MqttSink(broker.config(tls=True, ca_file=str(tmp_path / "none.pem")), "pi", Obeying())
    with pytest.raises(ConfigError, match=r"right.key: cannot be used"):
        MqttSink(broker.config(tls=True, ca_file=str(key)), "pi", Obeying())


def test_rates_and_changes(broker: Broker, listener: Listener) -> None:
    publisher, sink = publishing(broker.config(max_rate_hz=1.0))
    wait_for(lambda: sink._ready)
    states = ["tracking"] * 40 + ["uncertain"] * 5 + ["lost"] * 45
    for frame, state in enumerate(states):
        publisher.publish(record(frame, state))
    publisher.close()
    wait_for(lambda: listener.last(TOPICS.availability) == b"stopped")
    # One a second, and those that change the state.
    assert frames(listener.of(TOPICS.track)) == [0, 31, 40, 45, 61]
    assert [json.loads(p)["state"] for p in listener.of(TOPICS.state)] == ["tracking", "uncertain", "lost"]
    assert (publisher.sent, publisher.dropped) == (5, 0)


def test_the_state_is_that_of_the_first_target() -> None:
    changes = StateChanges()
    changed = [
        (frame, track_id)
        for frame in range(100)
        for track_id in (3, 4, 5)
        if changes.changed(record(frame, "lost" if track_id > 3 else "tracking", track_id=track_id))
    ]
    assert changed == [(0, 3)]
    assert changes.changed(record(100, track_id=4))


def test_steps_of_confidence_are_a_change_once_a_second() -> None:
    changes = StateChanges()
    falling = [n for n in range(300) if changes.changed(record(n, confidence=1 - n / 300))]
    assert 8 <= len(falling) <= 11
    wild = [n for n in range(300, 600) if changes.changed(record(n, confidence=float(n % 2)))]
    assert 8 <= len(wild) <= 10


@pytest.mark.parametrize(
    ("device", "name"), [("pi", "pi"), ("My Pi/#1+", "My_Pi__1_"), ("Gerät", "Ger_t"), ("a-b_C9", "a-b_C9")]
)
def test_topics_hold_what_topics_may(device: str, name: str) -> None:
    topics = Topics.of("cfvgg", device)
    assert topics == (
        name,
        *(f"cfvgg/{name}/{x}" for x in ("availability", "state", "track", "set", "reply")),
    )


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_payload_breaks_the_reading_of_boxes(payload: bytes) -> None:
    try:
        command = command_of("target", payload)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert set(command) == {"command", "box"}
        assert [type(value) for value in command["box"]] == [float] * 4


@pytest.mark.parametrize(
    "payload",
    ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "[1,2,3,true]", '["1","2","3","4"]', '{"b": [1,2,3,4]}', "[" * 4000]
    + ["{}", "[[1],2,3,4]", '{"box": 4}', "1 2 3 4", "null", "1e999999,1,1,x"],
)
def test_payloads_that_are_no_boxes(payload: str) -> None:
    with pytest.raises(ValueError, match="is not a box; give x,y,w,h in pixels"):
        command_of("target", payload.encode())


def test_threads_end(broker: Broker) -> None:
    before = threading.active_count()
    publisher, _ = publishing(broker.config())
    publisher.publish(record(0))
    wait_for(lambda: publisher.sent == 1)
    publisher.close()
    wait_for(lambda: threading.active_count() <= before)  # one of a test before may have ended meanwhile
