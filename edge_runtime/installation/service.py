"""Installing the service, and removing it without a trace."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.config import Config, load_config
from edge_runtime.errors import CfvggError, ConfigError, InstallationError
from edge_runtime.installation.dropin import dropin
from edge_runtime.installation.layout import UNIT, USER, Layout, packaged, program
from edge_runtime.installation.needs import check_program, check_readable, needs, source_kind
from edge_runtime.installation.steps import Command, Link, MakeFolder, Remove, Step, WriteFile

JOURNAL = f"journalctl -u {UNIT} -n 30"


def require_root(layout: Layout) -> None:
    """Raise `InstallationError`, with the command to give instead, unless root calls and systemd runs."""
    if not layout.here:
        return
    if os.geteuid() != 0:
        # sudo does not look into virtual environments.
        line = shlex.join(["sudo", str(program()), *sys.argv[1:]])
        raise InstallationError("needs the rights of root", fix=f"run {line}")
    if layout.live and not Path("/run/systemd/system").is_dir():
        raise InstallationError("systemd does not run here", fix="--offline for an image that is made")


def install_steps(layout: Layout, file: Path | None, start: bool) -> list[Step]:
    """What installing consists of, after everything that can be checked was.

    Args:
        layout: of the system.
        file: the user's settings; None keeps those that are there, or puts the reference there.
        start: whether the service is started, anew if it runs.

    Raises:
        ConfigError: the settings are wrong, or the service could not do its work with them.
        InstallationError: this program cannot be run by the service, or other settings are there.
    """
    settings, text = _settings(layout, file)
    check_program()
    wanted = needs(settings, layout)
    for path in wanted.read:
        check_readable(layout.root / path.relative_to("/"))
    if start:
        check_ready(settings, layout.config)
    unit = dropin(program(), wanted, layout)
    steps: list[Step] = [WriteFile(layout.sysusers, packaged("cfvgg.sysusers").read_bytes())]
    if layout.here:
        steps.append(Command(("systemd-sysusers", str(layout.sysusers))))
        steps += _member_steps()
    steps.append(WriteFile(layout.rules, packaged(layout.rules.name).read_bytes()))
    if layout.live:
        steps += _device_steps()
    if not layout.config.exists():
        steps.append(WriteFile(layout.config, text, USER if layout.here else None))
    steps += [MakeFolder(layout.root / path.relative_to("/"), USER) for path in wanted.written]
    steps += [WriteFile(layout.unit, packaged(UNIT).read_bytes()), WriteFile(layout.dropin, unit.encode())]
    if not layout.live:
        return [*steps, Link(layout.wants, f"/etc/systemd/system/{UNIT}")]
    steps += [Command(("systemctl", "daemon-reload")), Command(("systemctl", "enable", "--quiet", UNIT))]
    if start:
        steps.append(Command(("systemctl", "reset-failed", UNIT), may_fail=True))
        steps.append(Command(("systemctl", "restart", UNIT), fix=f"see {JOURNAL}"))
    return steps


def uninstall_steps(layout: Layout, purge: bool) -> Iterator[Step]:
    """What removing consists of; decided one by one, as some depend on what those before left.

    Args:
        layout: of the system.
        purge: whether settings, records and bundles go as well.
    """
    if layout.live:
        yield Command(("systemctl", "disable", "--now", "--quiet", UNIT), may_fail=True)
    yield from map(Remove, (layout.wants, layout.unit, layout.dropin, layout.rules, layout.sysusers))
    if layout.live:
        yield Command(("systemctl", "daemon-reload"))
        yield Command(("systemctl", "reset-failed", UNIT), may_fail=True)
        yield Command(("udevadm", "control", "--reload"), may_fail=True)
    if purge or _untouched(layout.config):
        yield Remove(layout.config)
    if purge:
        yield from map(Remove, (layout.dropins, layout.config.parent, layout.state, layout.bundles))
    yield Remove(layout.runtime)
    for folder in (layout.dropins, layout.sysusers.parent, layout.config.parent, layout.state):
        yield Remove(folder, only_empty=True)
    if layout.here and not layout.state.exists():
        yield from _account_removal()


def check_ready(config: Config, where: Path) -> None:
    """Raise `CfvggError` when the service would give up at once with these settings."""
    from edge_runtime.trackers import build_tracker  # noqa: PLC0415 (slow, and seldom needed)

    kind = source_kind(config.source.uri)
    if kind == "none":
        raise ConfigError("source.uri is empty", where=where, fix="say where frames come from")
    if kind == "file" and not Path(config.source.uri).exists():
        raise ConfigError(f"source.uri = {config.source.uri!r} is not there", where=where)
    if config.adapt.mode == "blocking":
        raise ConfigError(
            'adapt.mode = "blocking" stops frames for longer than the watchdog waits',
            where=where,
            fix='use "background"',
        )
    build_tracker(config)


def not_ready(config: Config, where: Path) -> str | None:
    """Why the service would give up at once; None if it would not."""
    try:
        check_ready(config, where)
    except CfvggError as error:
        return str(error)
    return None


def _settings(layout: Layout, file: Path | None) -> tuple[Config, bytes]:
    """The settings that will apply, and the file that holds them."""
    there = layout.config if layout.config.exists() else None
    if file is not None and there is not None and _read(file) != _read(there):
        raise InstallationError(
            f"is there already and is not {file}",
            where=there,
            fix="change that one, or move it away first",
        )
    path = file or there or packaged("cfvgg.toml")
    return load_config(path), _read(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path) from error


def _untouched(config: Path) -> bool:
    """Whether the settings are the reference, which nobody changed."""
    return config.is_file() and config.read_bytes() == packaged("cfvgg.toml").read_bytes()


def _member_steps() -> Iterator[Step]:
    """Whoever installs it may use the sockets."""
    user = os.environ.get("SUDO_USER", "root")
    try:
        members = grp.getgrnam(USER).gr_mem
    except KeyError:
        members = []
    if user != "root" and user not in members:
        yield Command(("usermod", "-aG", USER, user))


def _device_steps() -> Iterator[Step]:
    yield Command(("udevadm", "control", "--reload"), may_fail=True)
    subsystems = [f"--subsystem-match={name}" for name in ("dma_heap", "video4linux", "media")]
    yield Command(("udevadm", "trigger", "--action=change", *subsystems), may_fail=True)


def _account_removal() -> Iterator[Step]:
    if any(entry.pw_name == USER for entry in pwd.getpwall()):
        yield Command(("userdel", USER))
    # It stays behind when people are in it.
    if any(entry.gr_name == USER for entry in grp.getgrall()):
        yield Command(("groupdel", USER))
