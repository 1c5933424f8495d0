"""Frame sources: recorded pictures, video files, and the shipped fake camera, behind one interface."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import CapturedFrame, FrameSource
from edge_runtime.sources.fake import FakeSource
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.video import VideoSource

__all__ = ["CapturedFrame", "FakeSource", "FolderSource", "FrameSource", "VideoSource", "open_source"]


def open_source(uri: str) -> FrameSource:
    """The source that a URI names.

    Args:
        uri: `fake:` with optional settings (`fake:frames=60&seed=3`, see `FakeScript`), a folder of
            pictures, or a video file.

    Raises:
        SourceError: nothing there, or nothing that can be decoded.
    """
    if uri.startswith("fake:"):
        return FakeSource.from_uri(uri)
    if not uri:
        raise SourceError("no source is given", fix="set source.uri or --source")
    path = Path(uri)
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return VideoSource(path)
    raise SourceError("no such file or folder", where=uri, fix="give a video, a picture folder, or fake:")
