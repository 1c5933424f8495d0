"""Names and payloads on the MQTT broker, and what Home Assistant is told of them."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from edge_runtime.publishers.base import version
from edge_runtime.records import TrackRecord
from edge_runtime.types import TrackState

ONLINE, OFFLINE, STOPPED = "online", "offline", "stopped"
BUTTONS = {"clear": "Clear target", "pause": "Pause", "resume": "Resume"}
MOST_COMMAND_BYTES = 4096


class Topics(NamedTuple):
    """Where what is published.

    Attributes:
        device: the device's name as far as topics allow it: letters, digits, hyphens, underscores.
        availability: "online", "offline" (the broker says so) or "stopped"; retained.
        state: small JSON about the first target, on change; retained.
        track: every track record, not retained.
        commands: the topics above commands; the last level is the command.
        reply: JSON, the answers to commands.
    """

    device: str
    availability: str
    state: str
    track: str
    commands: str
    reply: str

    @classmethod
    def of(cls, prefix: str, device: str) -> Topics:
        """The topics of a device."""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", device)
        base = f"{prefix}/{name}"
        return cls(name, *(f"{base}/{last}" for last in ("availability", "state", "track", "set", "reply")))


def state_of(record: TrackRecord) -> dict[str, Any]:
    """What the state topic says."""
    return {
        "state": record.state,
        "track_id": record.track_id,
        "confidence": record.confidence,
        "t_unix": record.t_unix,
    }


def command_of(name: str, payload: bytes) -> dict[str, Any]:
    """What a message on `…/set/<name>` commands, for a `Handle`.

    Raises:
        ValueError: it is too long, or the target's payload is no box.
    """
    if len(payload) > MOST_COMMAND_BYTES:
        raise ValueError(f"a command has at most {MOST_COMMAND_BYTES} bytes")
    return {"command": "select", "box": _box(payload)} if name == "target" else {"command": name}


def _box(payload: bytes) -> list[float]:
    """`[x, y, w, h]`, `{"box": [x, y, w, h]}`, or `x,y,w,h`."""
    try:
        text = payload.decode()
        value = json.loads(text if text.lstrip()[:1] in ("[", "{") else f"[{text}]")
        numbers = value["box"] if isinstance(value, dict) else value
        if len(numbers) == 4 and all(type(number) in (int, float) for number in numbers):
            return [float(number) for number in numbers]
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        pass
    raise ValueError(f"{payload[:60]!r} is not a box; give x,y,w,h in pixels")


def discovery_topic(prefix: str, topics: Topics) -> str:
    """Where Home Assistant looks for a device."""
    return f"{prefix}/device/cfvgg_{topics.device}/config"


def discovery(device: str, topics: Topics) -> dict[str, Any]:
    """Home Assistant's device discovery: the device with all that it shows and can be told.

    Args:
        device: the name that people read.
        topics: of the device.
    """
    components = _sensors() | {
        name: {"platform": "button", "name": label, "command_topic": f"{topics.commands}/{name}"}
        for name, label in BUTTONS.items()
    }
    for name, component in components.items():
        component["unique_id"] = f"cfvgg_{topics.device}_{name}"
    return {
        "device": {
            "identifiers": [f"cfvgg_{topics.device}"],
            "name": device,
            "manufacturer": "cfvgg",
            "model": "Object tracker",
            "sw_version": version(),
        },
        "origin": {"name": "cfvgg", "sw_version": version()},
        # "stopped" has no place of its own there.
        "availability": [
            {
                "topic": topics.availability,
                "value_template": "{{ 'online' if value == 'online' else 'offline' }}",
            }
        ],
        "state_topic": topics.state,
        "qos": 1,
        "components": components,
    }


def _sensors() -> dict[str, dict[str, Any]]:
    # What is null in the state becomes None, which Home Assistant shows as unknown.
    confidence = "(value_json.confidence * 100) | round(0) if value_json.confidence is not none else none"
    seen = f"value_json.state in ['{TrackState.TRACKING}', '{TrackState.REACQUIRED}']"
    return {
        "state": {
            "platform": "sensor",
            "name": "State",
            "device_class": "enum",
            "options": [state.value for state in TrackState],
            "value_template": "{{ value_json.state }}",
        },
        "confidence": {
            "platform": "sensor",
            "name": "Confidence",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "value_template": f"{{{{ {confidence} }}}}",
        },
        "track_id": {
            "platform": "sensor",
            "name": "Track",
            "value_template": "{{ value_json.track_id }}",
        },
        "visible": {
            "platform": "binary_sensor",
            "name": "Target visible",
            "value_template": f"{{{{ 'ON' if {seen} else 'OFF' }}}}",
        },
    }
