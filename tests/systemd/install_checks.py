"""Installing, updating, going back and removing, by the tar or by the Debian package, under a real systemd.

Runs as root inside a system that nothing else is in (.ci/install-check), with the argument `tar` or `deb`. In
/srv/packages are releases: first, second and third are good, `import` does not start, `service` does not as a
service, `later` ends soon after it was ready. Prints a line a check; the first that does not hold ends it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.systemd.inside import CONFIG, UNIT, call, files, say, unit, wait_for

PACKAGES = Path("/srv/packages")
HOME = Path("/opt/cfvgg")
PI = Path("/home/pi")
INSTALL = PI / "cfvgg-edge/install"
STATE = Path("/var/lib/cfvgg")
SETTINGS = """\
[source]
uri = "fake:live=true"
[target]
box = [140, 100, 40, 40]
[tracker]
preset = "kcf"
[output]
tracks = "/var/lib/cfvgg/tracks.jsonl"
"""
# What dpkg and apt keep of what was once there.
NOT_OURS = ("home/pi", "srv", "var/lib/apt", "var/lib/dpkg")


def as_pi(command: str, expect: int = 0) -> str:
    """What a shell of the user pi prints, as over ssh."""
    return call("su", "-", "pi", "-c", command, expect=expect)


def tracking() -> bool:
    """Whether the service tracks."""
    return "tracking" in as_pi("sudo cfvgg-edge status")


def running() -> str:
    """The version of the running service; waits until it tracks, with a process that stays."""
    wait_for("the service", lambda: unit("ActiveState") == "active")
    wait_for("its target", tracking)
    program = unit("ExecStart").partition("path=")[2].split()[0]
    said = call(
        str(Path(program).with_name("python3")),
        "-c",
        "import importlib.metadata as m; print(m.version('cfvgg'))",
    )
    return said.strip()


def settings() -> None:
    """Settings for the built-in scene."""
    CONFIG.write_text(SETTINGS)


def nothing_left(before: set[str]) -> None:
    """Neither files nor accounts."""
    left = files(*NOT_OURS) - before
    assert left == set(), sorted(left)[:20]
    call("getent", "passwd", "cfvgg", expect=2)
    call("getent", "group", "cfvgg", expect=2)
    assert call("systemctl", "show", UNIT, "-p", "LoadState", "--value") == "not-found\n"


def only_kept(before: set[str]) -> None:
    """Settings, records and the user."""
    left = files(*NOT_OURS) - before
    assert {path for path in left if not path.startswith("var/lib/cfvgg")} == {
        "etc/cfvgg",
        "etc/cfvgg/cfvgg.toml",
    }
    assert CONFIG.read_text() == SETTINGS
    assert (STATE / "tracks.jsonl").stat().st_size > 0
    call("getent", "passwd", "cfvgg")


# The tar


def unpack(name: str) -> None:
    as_pi(f"rm -rf cfvgg-edge && tar x < {PACKAGES}/{name}.tar")


def install(name: str, *arguments: str, expect: int = 0) -> str:
    """The README's one command."""
    return as_pi(
        f"rm -rf cfvgg-edge && cat {PACKAGES}/{name}.tar | "
        f"sh -c 'tar x && sudo cfvgg-edge/install {' '.join(arguments)}'",
        expect=expect,
    ).strip()


def releases() -> list[str]:
    return sorted(path.name for path in (HOME / "releases").iterdir())


def check_first() -> None:
    unpack("first")
    refused = as_pi("cfvgg-edge/install", expect=1)
    assert "needs the rights of root: sudo" in refused, refused
    start_s = time.monotonic()
    said = install("first")
    seconds = time.monotonic() - start_s
    assert "before it can run: /etc/cfvgg/cfvgg.toml: source.uri is empty" in said, said
    (release,) = releases()
    assert (HOME / "current").resolve().name == release
    assert as_pi("command -v cfvgg-edge").strip() == "/usr/local/bin/cfvgg-edge"
    assert not list(HOME.glob("current/lib/python3*/site-packages/pip*")), "pip itself is not installed"
    settings()
    call("systemctl", "start", UNIT)
    say(f"ok: installed in {seconds:.1f} s; tracks the built-in scene as {running()}:\n{said}")


def check_again() -> None:
    pid, before = unit("MainPID"), files(*NOT_OURS)
    said = install("first")
    assert (unit("MainPID"), files(*NOT_OURS)) == (pid, before)
    assert re.search(r"is there$", said, re.M), said
    say(f"ok: a second time, the service runs on:\n{said}")


def check_wrong_system() -> None:
    unpack("first")
    release = PI / "cfvgg-edge/release"
    text = release.read_text()
    for found, wrong, expected in (
        (
            r"PYTHON=.*",
            "PYTHON=3.9",
            r"this is for \w+, with Python 3.9, and this system has Python 3.1\d: take the file",
        ),
        (r"ARCHITECTURE=.*", "ARCHITECTURE=riscv64", "this is for riscv64 and this system is amd64"),
        (r"NEEDS_MB=.*", "NEEDS_MB=99999999", r"/opt/cfvgg needs 99999999 MB and has \d+ MB"),
    ):
        release.write_text(re.sub(found, wrong, text))
        said = as_pi("sudo cfvgg-edge/install", expect=1)
        assert re.search(expected, said), said
        say(f"ok: {said.strip()}")
    release.write_text(text)
    wheel = next((PI / "cfvgg-edge/wheels").glob("dacite-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    release.write_text(text.replace("VERSION=", "VERSION=9."))
    said = as_pi("sudo cfvgg-edge/install", expect=1)
    assert "DO NOT MATCH THE HASHES" in said, said
    say("ok: a changed wheel is refused")
    assert running() == "0.1.0"


def check_update() -> None:
    pid = unit("MainPID")
    said = install("second")
    assert running() == "0.1.1"
    assert unit("MainPID") != pid
    assert len(releases()) == 2
    say(f"ok: updated while it ran:\n{said}")


def check_no_start() -> None:
    pid, before = unit("MainPID"), releases()
    said = install("import", expect=1)
    assert "does not start, nothing was changed: made not to start" in said, said
    assert (unit("MainPID"), releases()) == (pid, before)
    say(f"ok: a release that does not start:\n{said}")
    for fault in ("service", "later"):
        start_s = time.monotonic()
        said = install(fault, expect=1)
        assert re.search(r"the service does not run with \S+: 0\.1\.1-\w+ is back, and runs", said), said
        assert (running(), releases()) == ("0.1.1", before)
        seconds = time.monotonic() - start_s
        say(f"ok: a release whose service does not run, back after {seconds:.1f} s:\n{said}")
    assert unit("NRestarts") == "0"


def check_power_cut() -> None:
    """Everything is killed while the release is made."""
    pid, before = unit("MainPID"), (HOME / "current").resolve()
    unpack("third")
    process = subprocess.Popen([INSTALL], start_new_session=True, stdout=subprocess.DEVNULL)
    wait_for("its folder", lambda: list(HOME.glob("releases/0.1.2-*/lib/python3*/site-packages/*")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (left,) = HOME.glob("releases/0.1.2-*")
    assert not (left / ".complete").exists()
    assert (unit("MainPID"), (HOME / "current").resolve()) == (pid, before)
    say("ok: killed while it installed: the service runs on")
    said = install("third")
    assert running() == "0.1.2"
    assert len(releases()) == 2, releases()  # the first is gone
    say(f"ok: and once more; the release before the one before is gone:\n{said}")


def check_rollback() -> None:
    for version in ("0.1.1", "0.1.2"):
        said = as_pi(f"sudo {HOME}/install --rollback").strip()
        assert running() == version
        say(f"ok: {said}")


def check_broken_pipe() -> None:
    """The connection goes when the new release is being switched to: it ends as it would have."""
    unpack("second")
    as_pi("(sudo cfvgg-edge/install 2>&1; true) | sed '/starting/q'")
    wait_for("the end of it", lambda: call("sh", "-c", "pgrep -f [c]fvgg-edge/install || :") == "")
    assert running() == "0.1.1"
    say("ok: nobody listened to the rest, and it came to its end")


def check_tar_removed(before: set[str]) -> None:
    said = as_pi(f"sudo {HOME}/install --remove")
    only_kept(before)
    say(f"ok: removed:\n{said.strip()}")
    unpack("first")
    said = as_pi("sudo cfvgg-edge/install --remove --purge")
    nothing_left(before)
    say(f"ok: and purged later: {said.strip()}")
    (PI / "mine.toml").write_text(SETTINGS)
    said = install("first", "--config", "mine.toml")
    assert running() == "0.1.0"
    say(f"ok: installed and started with settings:\n{said}")
    said = as_pi("sudo cfvgg-edge/install --remove --purge")
    nothing_left(before)
    assert "removed" in as_pi("sudo cfvgg-edge/install --remove --purge")
    say("ok: removed and purged, nothing is left, of files or accounts; once more is no error")


# The Debian package


def apt(*arguments: str, expect: int = 0) -> str:
    options = "-qq -y -oDpkg::Use-Pty=0"
    command = f"sudo DEBIAN_FRONTEND=noninteractive apt-get {options} {' '.join(arguments)}"
    return as_pi(command, expect=expect).strip()


def check_deb_first() -> None:
    start_s = time.monotonic()
    said = apt("install", str(PACKAGES / "first.deb"))
    seconds = time.monotonic() - start_s
    assert "source.uri is empty" in said, said
    assert call("dpkg", "-V", "cfvgg-edge") == ""
    assert as_pi("command -v cfvgg-edge").strip() == "/usr/bin/cfvgg-edge"
    assert list(Path("/usr/lib/cfvgg").rglob("edge_runtime/__pycache__/cli.*.pyc"))
    settings()
    call("systemctl", "start", UNIT)
    say(f"ok: installed in {seconds:.1f} s; tracks the built-in scene as {running()}:\n{said}")
    assert call("dpkg", "-V", "cfvgg-edge") == ""
    said = apt("install", "--reinstall", str(PACKAGES / "first.deb"))
    assert running() == "0.1.0"
    say("ok: installed again")


def check_deb_update() -> None:
    pid = unit("MainPID")
    said = apt("install", str(PACKAGES / "second.deb"))
    assert running() == "0.1.1"
    assert unit("MainPID") != pid
    assert CONFIG.read_text() == SETTINGS
    say(f"ok: updated while it ran:\n{said}")
    said = apt("install", str(PACKAGES / "service.deb"))
    assert "the service does not run with this version" in said, said
    say(f"ok: a version whose service does not run says so:\n{said}")
    apt("install", "--allow-downgrades", str(PACKAGES / "second.deb"))
    assert running() == "0.1.1"
    say("ok: one that runs mends it")
    call("systemctl", "stop", UNIT)
    apt("install", "--allow-downgrades", str(PACKAGES / "first.deb"))
    assert unit("ActiveState") == "inactive"
    call("systemctl", "start", UNIT)
    assert running() == "0.1.0"
    say("ok: back to the first; what was stopped stays stopped")


def check_both() -> None:
    """Neither is installed over the other."""
    unpack("first")
    said = as_pi("sudo cfvgg-edge/install", expect=1)
    assert "it is installed as a Debian package: apt remove cfvgg-edge first" in said, said
    say(f"ok: {said.strip()}")


def check_deb_removed(before: set[str]) -> None:
    said = apt("remove", "cfvgg-edge")
    only_kept(before)
    assert not Path("/usr/lib/cfvgg").exists()
    say(f"ok: removed:\n{said}")
    said = apt("purge", "cfvgg-edge")
    nothing_left(before)
    say("ok: and purged, nothing is left, of files or accounts")
    apt("install", str(PACKAGES / "first.deb"))
    apt("purge", "cfvgg-edge")
    nothing_left(before)
    install("first")
    said = apt("install", str(PACKAGES / "first.deb"), expect=100)
    assert "there is one in /opt/cfvgg already" in said, said
    as_pi("sudo cfvgg-edge/install --remove --purge")
    apt("purge", "cfvgg-edge")
    nothing_left(before)
    say("ok: installed and purged at once; not installed beside what is in /opt/cfvgg")


def main() -> None:
    before = files(*NOT_OURS)
    if sys.argv[1] == "tar":
        check_first()
        check_again()
        check_wrong_system()
        check_update()
        check_no_start()
        check_power_cut()
        check_rollback()
        check_broken_pipe()
        check_tar_removed(before)
    else:
        check_deb_first()
        check_deb_update()
        check_both()
        check_deb_removed(before)


if __name__ == "__main__":
    main()
