"""Every exception that cfvgg raises on purpose.

All of them print as one line: what is wrong, where, and how to fix it. The command lines catch
`CfvggError`, print that line to standard error and exit with `exit_code`; anything else is a bug.
"""

from __future__ import annotations

from pathlib import Path


class CfvggError(Exception):
    """Base class; `str(error)` is one line for a person.

    Args:
        what: what is wrong.
        where: the file, setting or device concerned.
        fix: what the user can do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        line = f"{where}: {what}" if where is not None else what
        if fix:
            line = f"{line}; {fix}"
        # What came from outside may hold anything; a terminal and the journal are to get text.
        super().__init__("".join(map(_printable, " ".join(line.split()))))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class ConfigError(CfvggError):
    """A setting is unknown, has the wrong type, or is out of range."""


class SourceError(CfvggError):
    """Frames cannot be opened, decoded or understood."""


class CameraError(SourceError):
    """A camera or stream stays away. It may come back: with this exit code systemd tries again."""

    exit_code = 6


class BoxError(CfvggError):
    """A target box is empty, not finite, or outside the frame."""


class CommandError(CfvggError):
    """A command to a running service cannot be obeyed now."""


class DeviceError(CfvggError):
    """A device cannot take what was to be deployed to it, or has refused it; nothing was changed there."""


class BundleError(CfvggError):
    """A model bundle is missing, damaged, or does not match its own manifest."""


class SignatureError(BundleError):
    """A bundle is not signed by a key that this device trusts."""


class StoreError(CfvggError):
    """The store of bundles cannot do what was asked; nothing was changed."""


class DeploymentError(CfvggError):
    """A bundle did not stand its trial; the one before is in its place again."""

    exit_code = 7


class AbandonedError(CfvggError):
    """The bundle in use was on a trial that was cut off; systemd starts the service on the one before."""

    exit_code = 6


class InterpreterError(CfvggError):
    """No TFLite runtime is installed, or it refused the model."""


class DependencyError(CfvggError):
    """An optional package is needed for what was asked and is not installed."""


class WeightsError(CfvggError):
    """Network weights are missing, truncated, or have the wrong shapes."""


class CalibrationError(CfvggError):
    """The calibration pictures are too few or unreadable."""


class AccuracyError(CfvggError):
    """An exported model differs from its original by more than the limit."""

    exit_code = 3


class StorageError(CfvggError):
    """Output could not be written; nothing half-written was left behind."""

    exit_code = 4


class ServiceError(CfvggError):
    """The running service cannot be reached, or does not answer."""

    exit_code = 5


class InstallationError(CfvggError):
    """The service cannot be installed, removed or asked about."""
