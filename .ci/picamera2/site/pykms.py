"""In the place of a library for monitors, which Picamera2 imports and which is not used."""


class _Names(type):
    """Every attribute is its own name."""

    def __getattr__(cls, name: str) -> str:
        return name


class PixelFormat(metaclass=_Names):
    """Formats by name."""
