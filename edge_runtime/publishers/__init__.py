"""Where track records go: files, a unix socket, UDP and MQTT."""

# ruff: noqa: PLC0415 (what publishes is imported when it is used: reading settings needs none of it)

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.config import Config
    from edge_runtime.publishers.base import Publisher
    from edge_runtime.types import Handle

FILE_EVERY_S = 1.0
BYTES_PER_MB = 1_000_000


def make_publishers(config: Config, handle: Handle, *, live: bool) -> list[Publisher]:
    """Open every publisher that is configured.

    A recording run only writes `output.tracks`, each record at once, whole or not at all. The rest is for
    live runs, in which no publisher makes the loop wait.

    Args:
        config: `output`, `socket`, `udp`, `mqtt` and `device` are used.
        handle: obeys commands that come by MQTT.
        live: whether frames come from a camera or stream.

    Raises:
        StorageError: a file or socket cannot be opened.
        DependencyError: a package is missing.
        ConfigError: a file that a setting names cannot be used.
    """
    opened: list[Publisher] = []
    with contextlib.ExitStack() as on_error:
        on_error.callback(lambda: close_publishers(opened))
        opened.extend(_output(config, live=live))
        if live:
            # One by one: those before one that fails are to be closed.
            for publisher in _network(config, handle):
                opened.append(publisher)
        on_error.pop_all()
    return opened


def close_publishers(publishers: Sequence[Publisher]) -> None:
    """Close them all side by side: dead consumers hold this up for one second together."""
    from edge_runtime.publishers.queued import Queued

    for publisher in publishers:
        if isinstance(publisher, Queued):
            publisher.finish()
    for publisher in publishers:
        publisher.close()


def _output(config: Config, *, live: bool) -> Iterator[Publisher]:
    from edge_runtime.publishers.base import Direct
    from edge_runtime.publishers.lines import LinesFile, StandardOutput
    from edge_runtime.publishers.queued import Queued

    output = config.output
    if output.tracks == "-":
        yield Queued(StandardOutput()) if live else Direct(StandardOutput())
    elif output.tracks and not live:
        yield Direct(LinesFile(Path(output.tracks), append=False))
    elif output.tracks:
        limit = round(output.tracks_max_mb * BYTES_PER_MB)
        file = LinesFile(Path(output.tracks), append=True, max_bytes=limit, keep=output.tracks_keep)
        yield Queued(file, every_s=FILE_EVERY_S if file.regular else 0.0)


def _network(config: Config, handle: Handle) -> Iterator[Publisher]:
    from edge_runtime.host import host_name
    from edge_runtime.publishers.base import Rate
    from edge_runtime.publishers.queued import Queued
    from edge_runtime.runtime_folder import runtime_folder

    if config.socket.enabled:
        from edge_runtime.publishers.readers import SocketPublisher

        yield SocketPublisher(runtime_folder() / "tracks.sock", config.socket)
    if config.udp.host:
        from edge_runtime.publishers.udp import UdpSink

        yield Queued(UdpSink(config.udp), wanted=Rate(config.udp.max_rate_hz).due)
    if config.mqtt.host:
        from edge_runtime.publishers.mqtt import MqttSink

        mqtt = MqttSink(config.mqtt, config.device.name or host_name(), handle)
        yield Queued(mqtt, wanted=mqtt.wanted)
