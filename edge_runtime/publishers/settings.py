"""Settings of everything that leaves the device beside files: sockets, UDP, MQTT, metrics."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from edge_runtime.settings_file import require


@dataclass(frozen=True)
class SocketConfig:
    """Track records on `tracks.sock` in the runtime folder.

    `buffer_kib` is what the kernel holds for each reader; a reader that is further behind loses records.
    """

    enabled: bool = True
    max_readers: int = 8
    buffer_kib: int = 128

    def __post_init__(self) -> None:
        require("socket.max_readers", self.max_readers, 1 <= self.max_readers <= 64, "1 to 64")
        require("socket.buffer_kib", self.buffer_kib, 8 <= self.buffer_kib <= 4096, "8 to 4096")


@dataclass(frozen=True)
class UdpConfig:
    """Track records as datagrams, one each; an empty host sends none, a rate of 0 sends all."""

    host: str = ""
    port: int = 5005
    max_rate_hz: float = 0.0

    def __post_init__(self) -> None:
        _require_host("udp.host", self.host)
        _require_port("udp.port", self.port)
        _require_rate("udp.max_rate_hz", self.max_rate_hz)


@dataclass(frozen=True)
class MqttConfig:
    """An MQTT broker; an empty host means none.

    Topics are `<topic>/<device>/availability`, `/state`, `/track`, `/set/+` and `/reply`.
    `max_rate_hz` is that of `/track`; 0 sends every record. An empty `ca_file` takes the system's
    authorities, an empty `discovery_prefix` does not tell Home Assistant.
    """

    host: str = ""
    port: int = 1883
    tls: bool = False
    ca_file: str = ""
    user: str = ""
    password_file: str = ""
    topic: str = "cfvgg"
    max_rate_hz: float = 5.0
    keepalive_s: int = 15
    reconnect_max_s: int = 30
    discovery_prefix: str = "homeassistant"

    def __post_init__(self) -> None:
        _require_host("mqtt.host", self.host)
        _require_port("mqtt.port", self.port)
        _require_rate("mqtt.max_rate_hz", self.max_rate_hz)
        require("mqtt.keepalive_s", self.keepalive_s, 5 <= self.keepalive_s <= 3600, "5 to 3600")
        require("mqtt.reconnect_max_s", self.reconnect_max_s, 1 <= self.reconnect_max_s <= 3600, "1 to 3600")
        require("mqtt.ca_file", self.ca_file, not self.ca_file or self.tls, "mqtt.tls = true with it")
        good = not self.password_file or bool(self.user)
        require("mqtt.password_file", self.password_file, good, "mqtt.user with it")
        for name, empty in (("topic", False), ("discovery_prefix", True)):
            value = getattr(self, name)
            good = _is_topic(value) or (empty and not value)
            require(f"mqtt.{name}", value, good, "a topic without + and #")


@dataclass(frozen=True)
class MetricsConfig:
    """Where Prometheus may read: "unix" (`metrics.sock`), a loopback address and port, or "" for nowhere."""

    listen: str = "unix"

    def __post_init__(self) -> None:
        good = self.listen in ("", "unix") or self.address is not None
        require("metrics.listen", self.listen, good, '"unix", "127.0.0.1:PORT", "[::1]:PORT", or ""')

    @property
    def address(self) -> tuple[str, int] | None:
        """(loopback address, port), or None when it is not one."""
        host, _, port = self.listen.rpartition(":")
        try:
            ip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
            number = int(port)
        except ValueError:
            return None
        return (str(ip), number) if ip.is_loopback and 1 <= number <= 65535 else None


def _require_host(name: str, host: str) -> None:
    try:
        good = not any(c.isspace() for c in host) and len(host.encode("idna")) <= 253
    except UnicodeError:
        good = False
    require(name, host, good, "a name or an address, without a port")


def _require_port(name: str, port: int) -> None:
    require(name, port, 1 <= port <= 65535, "1 to 65535")


def _require_rate(name: str, rate_hz: float) -> None:
    require(name, rate_hz, 0 <= rate_hz <= 1000, "0 (all) to 1000")


def _is_topic(text: str) -> bool:
    levels = text.split("/")
    return all(levels) and not any(c in text for c in "+#$\0") and len(text) <= 200
