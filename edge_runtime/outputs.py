"""What a run writes, by configuration: publishers and renderers as one thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_runtime.config import OutputConfig
from edge_runtime.publish import JsonLinesPublisher, Publisher
from edge_runtime.records import TrackRecord
from edge_runtime.render import ContactSheet, Renderer, VideoRenderer, View


class Outputs:
    """Everything that a run writes, opened with the first frame so that a false start leaves no trace."""

    def __init__(self, config: OutputConfig) -> None:
        self._config = config
        self._publishers: list[Publisher] | None = None
        self._renderers: list[Renderer] = []

    def add(self, records: Sequence[TrackRecord], view: View, rate_hz: float | None) -> None:
        """Publish and draw one frame."""
        if self._publishers is None:
            self._open((view.image.shape[1], view.image.shape[0]), rate_hz)
        for publisher in self._publishers or ():
            for record in records:
                publisher.publish(record)
        for renderer in self._renderers:
            renderer.add(view)

    def save(self) -> tuple[str, ...]:
        """Finish every file; returns their paths."""
        for renderer in self._renderers:
            renderer.save()
        config = self._config
        paths = (config.tracks if config.tracks != "-" else "", config.video, config.contact_sheet)
        return tuple(path for path in paths if path and Path(path).exists())

    def close(self) -> None:
        """Close streams; pictures that were not saved vanish."""
        for publisher in self._publishers or ():
            publisher.close()
        for renderer in self._renderers:
            renderer.discard()

    def _open(self, frame_size: tuple[int, int], rate_hz: float | None) -> None:
        config = self._config
        self._publishers = []
        if config.tracks:
            self._publishers.append(JsonLinesPublisher(config.tracks))
        if config.video:
            self._renderers.append(VideoRenderer(Path(config.video), frame_size, rate_hz))
        if config.contact_sheet:
            self._renderers.append(ContactSheet(Path(config.contact_sheet), config.contact_sheet_frames))
