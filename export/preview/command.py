"""`cfvgg-export preview HOST`: everything from ssh to the browser."""

from __future__ import annotations

import contextlib
import threading
import webbrowser
from collections.abc import Callable, Sequence

from export.preview.link import Link, preview_command
from export.preview.pages import PageServer


def show_preview(
    host: str,
    *,
    remote_command: str,
    remote_options: Sequence[str],
    ssh_options: Sequence[str],
    port: int,
    browser: bool,
    say: Callable[[str], None],
) -> None:
    """Show a device's preview in the browser until Ctrl-C.

    Args:
        host, remote_command, remote_options, ssh_options: see `preview_command`.
        port: of the page on 127.0.0.1; 0 for a free one.
        browser: whether to open it.
        say: shows a line to the user.

    Raises:
        DependencyError: there is no ssh.
        ServiceError: the device cannot be reached, or the port is taken.
    """
    with contextlib.ExitStack() as ending:
        link = Link(preview_command(host, remote_command, remote_options, ssh_options), host)
        ending.callback(link.close)
        ending.enter_context(contextlib.suppress(KeyboardInterrupt))  # the usual way to stop watching
        link.wait_connected()
        server = PageServer(link, port)
        ending.callback(server.close)
        say(f"{server.url}  (Ctrl-C ends)")
        if browser:
            # Text browsers keep their caller waiting.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        threading.Event().wait()
