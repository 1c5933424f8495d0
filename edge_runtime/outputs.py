"""What a run writes, by configuration: publishers and renderers as one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_runtime.config import Config
from edge_runtime.publishers import close_publishers, make_publishers
from edge_runtime.publishers.base import Publisher
from edge_runtime.records import TrackRecord
from edge_runtime.render import ContactSheet, Renderer, VideoRenderer, View
from edge_runtime.types import Handle


def no_commands(_: Mapping[str, Any]) -> dict[str, Any]:
    """A `Handle` for runs that take no commands."""
    return {"ok": False, "error": "this run takes no commands"}


class Outputs:
    """Everything that a run writes, opened with the first frame so that a false start leaves no trace.

    Args:
        config: `output`, and what `make_publishers` uses.
        handle: obeys commands that come through a publisher.
        live: whether frames come from a camera or stream.

    Attributes:
        publishers: those that are open, with what each has sent and dropped.
    """

    def __init__(self, config: Config, handle: Handle = no_commands, *, live: bool = False) -> None:
        self._config, self._handle, self._live = config, handle, live
        self._opened = False
        self.publishers: list[Publisher] = []
        self._renderers: list[Renderer] | None = None

    def open_publishers(self) -> None:
        """Open the publishers, if they are not yet: before the first frame, so that they can be reached.

        Raises:
            StorageError, DependencyError, ConfigError: see `make_publishers`.
        """
        if not self._opened:
            self.publishers = make_publishers(self._config, self._handle, live=self._live)
            self._opened = True

    def add(self, records: Sequence[TrackRecord], view: View, rate_hz: float | None) -> None:
        """Publish the records of one frame, and draw it.

        Raises:
            StorageError: a picture, or in a recording run a record, cannot be written.
        """
        self.open_publishers()
        if self._renderers is None:
            self._renderers = self._made_renderers((view.image.shape[1], view.image.shape[0]), rate_hz)
        for publisher in self.publishers:
            for record in records:
                publisher.publish(record)
        for renderer in self._renderers:
            renderer.add(view)

    def save(self) -> tuple[str, ...]:
        """Finish every file; returns their paths."""
        for renderer in self._renderers or ():
            renderer.save()
        output = self._config.output
        paths = (output.tracks if output.tracks != "-" else "", output.video, output.contact_sheet)
        return tuple(path for path in paths if path and Path(path).exists())

    def close(self) -> None:
        """Close streams, within about a second; pictures that were not saved vanish."""
        close_publishers(self.publishers)
        for renderer in self._renderers or ():
            renderer.discard()

    def _made_renderers(self, frame_size: tuple[int, int], rate_hz: float | None) -> list[Renderer]:
        output, made = self._config.output, list[Renderer]()
        if output.video:
            made.append(VideoRenderer(Path(output.video), frame_size, rate_hz))
        if output.contact_sheet:
            made.append(ContactSheet(Path(output.contact_sheet), output.contact_sheet_frames))
        return made
