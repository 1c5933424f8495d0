"""Arguments and options of every command that reaches a device."""

from __future__ import annotations

from typing import Annotated

import typer

HostArgument = Annotated[
    str, typer.Argument(help="As for ssh: [user@]host, or a name in your ssh configuration.")
]
RemoteCommandOption = Annotated[
    str, typer.Option(help="On the device, if it is elsewhere: ~/cfvgg/bin/cfvgg-edge.")
]
SshOption = Annotated[
    list[str] | None,
    typer.Option("--ssh-option", "-o", metavar="NAME=VALUE", help="As for ssh's -o: Port=2222."),
]
