"""Track records, state and availability on an MQTT broker; commands from it."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import ConfigError, DependencyError, ServiceError
from edge_runtime.publishers.base import Rate, encoded
from edge_runtime.publishers.settings import MqttConfig
from edge_runtime.publishers.topics import (
    OFFLINE,
    ONLINE,
    STOPPED,
    Topics,
    command_of,
    discovery,
    discovery_topic,
    state_of,
)
from edge_runtime.records import TrackRecord
from edge_runtime.types import Handle

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
    from paho.mqtt.reasoncodes import ReasonCode

MOST_IN_FLIGHT = 64  # records on their way into the connection; paho itself would hoard without end
MOST_QUEUED = 100  # messages that wait for the broker's acknowledgement
CLOSE_S = 0.4
CONFIDENCE_STEP, CONFIDENCE_EVERY_S = 0.1, 1.0

logger = logging.getLogger(__name__)


class StateChanges:
    """Tells which records change what the state topic says: of each frame, the first target's counts."""

    def __init__(self) -> None:
        self._frame = -1
        self._last: TrackRecord | None = None

    def changed(self, record: TrackRecord) -> bool:
        """Whether the state is to be published: another state or target, or a step of confidence."""
        if record.frame == self._frame:
            return False
        self._frame = record.frame
        last = self._last
        if last is not None and (last.state, last.track_id) == (record.state, record.track_id):
            apart_s = abs(record.t_monotonic_ns - last.t_monotonic_ns) / 1e9
            if apart_s < CONFIDENCE_EVERY_S or not _stepped(last.confidence, record.confidence):
                return False
        self._last = record
        return True


class MqttSink:
    """A connection to a broker, kept up by a thread of paho's: back-off from 1 s to `reconnect_max_s`.

    `deliver` sends a record to the track topic and, when the first target's state has changed, to the
    state topic. What a breaking connection loses counts as dropped.

    Args:
        config: the broker.
        device: the device's name.
        handle: obeys commands.

    Attributes:
        topics: what is used on the broker.

    Raises:
        DependencyError: paho-mqtt is not installed.
        ConfigError: the file of the password or of the authorities cannot be used.
    """

    name = "mqtt"

    def __init__(self, config: MqttConfig, device: str, handle: Handle) -> None:
        self.topics = Topics.of(config.topic, device)
        self._config, self._handle = config, handle
        self._where = f"{config.host}:{config.port}"
        self._rate, self._offered, self._published = Rate(config.max_rate_hz), StateChanges(), StateChanges()
        self._state: bytes | None = None
        # Written by paho's thread. `_ready` comes last: the state that `_on_connect` sends is the newest one.
        self._connections, self._ready, self._trouble = 0, False, "no connection to the MQTT broker yet"
        self._closing, self._disconnected = False, threading.Event()
        self._in_flight: deque[tuple[MQTTMessageInfo, int]] = deque()
        self._sent = self._dropped = 0
        self._counting = threading.Lock()
        self._discovery = _json(discovery(device, self.topics))
        self._client = self._new_client()
        self._client.connect_async(config.host, config.port, config.keepalive_s)
        self._client.loop_start()

    @property
    def sent(self) -> int:
        """Records written to the connection so far."""
        self._count()
        return self._sent

    @property
    def dropped(self) -> int:
        """Records that broken connections have taken with them so far."""
        self._count()
        return self._dropped

    def wanted(self, record: TrackRecord) -> bool:
        """Whether a record is to be delivered: as often as configured, and on each change of state."""
        changed = self._offered.changed(record)
        return self._rate.due(record) or changed

    def deliver(self, records: Sequence[TrackRecord]) -> None:
        """Send one record.

        Raises:
            ServiceError: it was not sent: there is no connection, or a slow one.
        """
        (record,) = records
        self._count()
        if not self._ready:
            raise ServiceError(self._trouble, where=self._where)
        if len(self._in_flight) >= MOST_IN_FLIGHT:
            raise ServiceError("the MQTT broker takes records too slowly", where=self._where)
        connection = self._connections
        info = self._client.publish(self.topics.track, encoded(record))
        if info.rc:
            raise ServiceError("the connection to the MQTT broker broke", where=self._where)
        with self._counting:
            self._in_flight.append((info, connection))
        if self._published.changed(record):
            self._state = _json(state_of(record))
            # Not QoS 1: after a reconnection paho would repeat older states behind the newest one.
            self._client.publish(self.topics.state, self._state, retain=True)

    def close(self) -> None:
        """Say that the device has stopped, if anybody listens, and disconnect."""
        self._closing = True
        ready, self._ready = self._ready, False
        if ready:
            stopped = self._client.publish(self.topics.availability, STOPPED, qos=1, retain=True)
            # Behind everything that was sent before; RuntimeError, ValueError: it could not be.
            with contextlib.suppress(RuntimeError, ValueError):
                stopped.wait_for_publish(CLOSE_S)
        self._client.disconnect()
        if ready:
            # Without this message the broker would say "offline" on top of "stopped".
            self._disconnected.wait(CLOSE_S)
        self._count(ended=True)

    def _count(self, *, ended: bool = False) -> None:
        """What has become of the records on their way."""
        with self._counting:
            while self._in_flight:
                info, connection = self._in_flight[0]
                if info.rc == 0 and info.is_published():
                    self._sent += 1
                elif info.rc or ended or connection != self._connections:
                    self._dropped += 1
                else:
                    return
                self._in_flight.popleft()

    def _new_client(self) -> Client:
        try:
            from paho.mqtt.client import Client, MQTTv311  # noqa: PLC0415 (optional, and slow to load)
            from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415
        except ImportError as error:
            raise DependencyError(
                "MQTT needs paho-mqtt 2", where="mqtt.host", fix="pip install 'cfvgg[mqtt]'"
            ) from error
        config, topics = self._config, self.topics
        client = Client(CallbackAPIVersion.VERSION2, f"cfvgg-{topics.device}", protocol=MQTTv311)
        client.will_set(topics.availability, OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(1, config.reconnect_max_s)
        client.max_queued_messages_set(MOST_QUEUED)
        if config.user:
            client.username_pw_set(config.user, _password(config.password_file))
        if config.tls:
            try:
                client.tls_set(config.ca_file or None)
            except OSError as error:
                fix = "give a file with certificates in PEM form"
                raise ConfigError(f"cannot be used ({error})", where=config.ca_file, fix=fix) from error
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_message = self._on_disconnect, self._on_message
        return client

    def _on_connect(self, client: Client, _: Any, __: Any, reason: ReasonCode, ___: Any) -> None:
        if reason.is_failure:
            self._trouble = f"the MQTT broker refuses the connection ({reason}), see mqtt.user"
            return
        if self._closing:
            client.disconnect()
            return
        self._connections += 1
        topics, prefix = self.topics, self._config.discovery_prefix
        client.publish(topics.availability, ONLINE, qos=1, retain=True)
        client.subscribe(f"{topics.commands}/+", qos=1)
        if prefix:
            client.publish(discovery_topic(prefix, topics), self._discovery, qos=1, retain=True)
        if self._state is not None:
            client.publish(topics.state, self._state, retain=True)
        self._ready = True

    def _on_connect_fail(self, client: Client, _: Any) -> None:
        if self._closing:
            client.disconnect()  # that of `close` may have been forgotten for this attempt
        # Called where paho handles the exception, which it does not pass on.
        self._trouble = f"the MQTT broker cannot be reached ({sys.exception()})"

    def _on_disconnect(self, _: Client, __: Any, ___: Any, reason: ReasonCode, ____: Any) -> None:
        if self._ready:
            self._trouble = f"the connection to the MQTT broker broke ({reason})"
        self._ready = False
        self._disconnected.set()

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        name = message.topic.rpartition("/")[2]
        client.publish(self.topics.reply, _json({"command": name} | self._obey(name, message)), qos=1)

    def _obey(self, name: str, message: MQTTMessage) -> dict[str, Any]:
        # A command that the broker keeps would be obeyed again after every reconnection.
        if message.retain:
            return {"ok": False, "error": "retained commands are not obeyed; publish without retain"}
        try:
            return self._handle(command_of(name, bytes(message.payload)))
        except ValueError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:
            # It would end paho's thread.
            logger.exception("%s: command %.40r", self.name, name)
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def _password(path: str) -> str | None:
    if not path:
        return None
    try:
        password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=path, fix="see mqtt.password_file") from error
    if not password:
        raise ConfigError("holds no password", where=path, fix="write it into the first line")
    return password


def _stepped(last: float | None, now: float | None) -> bool:
    if last is None or now is None:
        return last is not now
    return abs(now - last) >= CONFIDENCE_STEP


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
