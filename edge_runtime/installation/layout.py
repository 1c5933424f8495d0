"""Where the service's files are, in the package and on the system."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import InstallationError

UNIT = "cfvgg-edge.service"
USER = "cfvgg"

# In a wheel the files are beside this module (CMakeLists.txt); in a checkout, in its folder `systemd`.
_PLACES = (Path(__file__).parent / "files", Path(__file__).parents[2] / "systemd")


def packaged(name: str) -> Path:
    """A file of `systemd/`: the unit, the user, the device rules, the reference settings.

    Raises:
        InstallationError: the package is incomplete.
    """
    for place in _PLACES:
        if (place / name).is_file():
            return place / name
    raise InstallationError("is missing from the package", where=_PLACES[0] / name, fix="install cfvgg again")


def program() -> Path:
    """The `cfvgg-edge` of this Python, without symbolic links on the way.

    Raises:
        InstallationError: there is none.
    """
    for candidate in (Path(sys.argv[0]), Path(sys.executable).parent / "cfvgg-edge"):
        if candidate.name == "cfvgg-edge" and candidate.is_file():
            return candidate.resolve()
    raise InstallationError(
        "no cfvgg-edge beside it", where=sys.executable, fix="pip install cfvgg, and call it cfvgg-edge"
    )


@dataclass(frozen=True)
class Layout:
    """The system's files, below `root`.

    Attributes:
        root: of the file system.
        offline: whether systemd does not run here, as in an image that is being made (chroot).
    """

    root: Path = Path("/")
    offline: bool = False

    @property
    def here(self) -> bool:
        """Whether this is the system that the program runs in, with its accounts."""
        return self.root == Path("/")

    @property
    def live(self) -> bool:
        """Whether this is the running system, with its systemd."""
        return self.here and not self.offline

    @property
    def units(self) -> Path:
        """Units that an administrator adds."""
        return self.root / "etc/systemd/system"

    @property
    def unit(self) -> Path:
        """The packaged unit, as it is."""
        return self.units / UNIT

    @property
    def dropins(self) -> Path:
        """The user's changes to the unit, and ours."""
        return self.units / f"{UNIT}.d"

    @property
    def dropin(self) -> Path:
        """What depends on this machine and its settings."""
        return self.dropins / "10-installation.conf"

    @property
    def wants(self) -> Path:
        """The link that starts the service with the system."""
        return self.units / "multi-user.target.wants" / UNIT

    @property
    def sysusers(self) -> Path:
        """The service's user."""
        return self.root / "etc/sysusers.d/cfvgg.conf"

    @property
    def rules(self) -> Path:
        """Who may use cameras and their buffers."""
        return self.root / "etc/udev/rules.d/99-cfvgg.rules"

    @property
    def config(self) -> Path:
        """The settings of the service."""
        return self.root / "etc/cfvgg/cfvgg.toml"

    @property
    def state(self) -> Path:
        """Records, and whatever else the service keeps."""
        return self.root / "var/lib/cfvgg"

    @property
    def bundles(self) -> Path:
        """Deployed bundles."""
        return self.root / "var/lib/cfvgg-bundles"

    @property
    def runtime(self) -> Path:
        """Its sockets while it runs."""
        return self.root / "run/cfvgg"
