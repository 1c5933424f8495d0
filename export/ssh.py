"""The user's own ssh, with his configuration and keys: how every command here reaches a device."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from edge_runtime.errors import DependencyError, ServiceError

NOT_FOUND = 127  # what a shell exits with; above it: a signal, or ssh itself (255)

# Keep-alives notice a lost network. The user's own options come first, and ssh takes the first of two.
SSH_OPTIONS = (
    "ClearAllForwardings=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
)


def ssh_command(host: str, remote: str, options: Sequence[str], *, asks: bool) -> list[str]:
    """The command that runs `remote` on a device.

    Args:
        host: as for ssh: [user@]host, or a name from the user's ssh configuration.
        remote: for the shell at the far end.
        options: as for ssh's -o, before ours.
        asks: whether ssh may ask for passwords and the like.

    Raises:
        DependencyError: there is no ssh.
        ServiceError: `host` is no host name.
    """
    program = shutil.which("ssh")
    if program is None:
        raise DependencyError("there is no ssh", fix="install the OpenSSH client")
    if not host or host.startswith("-"):
        raise ServiceError(f"{host!r} is no host", fix="give [user@]host")
    all_options = (*options, f"BatchMode={'no' if asks else 'yes'}", *SSH_OPTIONS)
    parts = [part for option in all_options for part in ("-o", option)]
    return [program, "-T", "-a", "-x", *parts, "--", host, remote]


def end_of(status: int, said: Sequence[str]) -> str:
    """Why a command at the far end ended, in words.

    Args:
        status: what ssh exited with.
        said: lines of standard error, the last one last.
    """
    if status == NOT_FOUND:
        return f"{said[-1] if said else 'cfvgg-edge is not there'}; say where it is with --remote-command"
    return said[-1] if said else f"the connection ended with status {status}"
