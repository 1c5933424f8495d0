"""The service under a real systemd; runs as root inside a system that nothing else is in (.ci/system-x86).

Uses Python's own library only. Prints a line for each check, and fails at the first that does not hold.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import time
from pathlib import Path

from tests.systemd.inside import CONFIG, UNIT, call, files, journal, say, unit, wait_for

PROGRAM = "/home/pi/cfvgg/bin/cfvgg-edge"
NOT_OURS = "home/pi/cfvgg"  # its virtual environment
SETTINGS = Path("/home/pi/cfvgg.toml")
DROPINS = Path("/etc/systemd/system") / f"{UNIT}.d"
RUNTIME = Path("/run/cfvgg")
RECORDS = Path("/var/lib/cfvgg/tracks.jsonl")
WATCHDOG_S = 4


def edge(*arguments: str, expect: int = 0, user: str | None = None, groups: tuple[int, ...] = ()) -> str:
    return call(PROGRAM, *arguments, expect=expect, user=user, groups=groups)


def check_install() -> None:
    refused = edge("service", "install", "--config", str(SETTINGS), expect=2, user="pi")
    assert f"sudo {PROGRAM} service install --config {SETTINGS}" in refused, refused
    say(f"ok: without rights: {refused.strip()}")
    edge("service", "status", expect=3)
    os.environ["SUDO_USER"] = "pi"
    DROPINS.mkdir(parents=True)
    (DROPINS / "50-test.conf").write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}s\n")
    start_s = time.monotonic()
    said = edge("service", "install", "--config", str(SETTINGS), "--now")
    say(f"ok: installed and ready after {time.monotonic() - start_s:.1f} s:\n{said.strip()}")
    assert unit("ActiveState") == "active"
    assert unit("UnitFileState") == "enabled"
    again = edge("service", "install", "--config", str(SETTINGS))
    assert "write" not in again, again
    say(f"ok: the second time: {again.strip()}")
    assert "pi" in call("getent", "group", "cfvgg")
    assert CONFIG.stat().st_mode & 0o777 == 0o640
    status = edge("service", "status")
    assert "active (running)" in status, status
    say(f"ok: service status:\n{status.strip()}")


def check_commands() -> None:
    group = grp.getgrnam("cfvgg").gr_gid
    for name in ("control", "tracks", "preview", "metrics"):
        found = (RUNTIME / f"{name}.sock").stat()
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, group), name
    screen = edge("status", user="pi", groups=(group,))
    assert "tracking" in screen, screen
    denied = edge("status", expect=5, user="pi")
    assert "access is denied" in denied, denied
    say(f"ok: status, for those in the group:\n{screen.strip()}\nand for others: {denied.strip()}")
    record = json.loads(RECORDS.read_text().splitlines()[-2])
    assert record["clock_synced"] is not None  # the sandbox lets it ask the kernel
    assert record["state"] == "tracking", record
    wait_for("adaptation", lambda: "adaptation: " in journal(), 120)
    assert "it runs where the tracker does" not in journal()
    (line,) = [
        line for line in journal().splitlines() if "held-back crops" in line or "stays as it is" in line
    ]
    assert "iterations" in line, line
    say(f"ok: adaptation in the sandbox: {line}")


def check_sandbox() -> None:
    pid = unit("MainPID")
    fields = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    account = pwd.getpwnam("cfvgg")
    assert fields["Uid"].split()[0] == str(account.pw_uid)
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    inside = ("nsenter", "-t", pid, "-m")
    homes = call(*inside, "find", "/home", "/root", "-maxdepth", "2").split()
    assert set(homes) <= {"/home", "/root", "/home/pi", "/home/pi/cfvgg", "/home/pi/bundle"}, homes
    call(*inside, "touch", "/etc/x", expect=1)
    call(*inside, "test", "-r", "/proc/cpuinfo")
    assert Path("/home/pi").stat().st_mode & 0o777 == 0o700
    folder = RUNTIME.stat()
    assert (folder.st_mode & 0o777, folder.st_uid, folder.st_gid) == (0o750, account.pw_uid, account.pw_gid)
    links = call("nsenter", "-t", pid, "-n", "ip", "-o", "link")
    assert links.count("\n") == 1, links
    size = RECORDS.stat().st_size
    wait_for("records", lambda: RECORDS.stat().st_size > size)
    say("ok: own user, no rights, no network, homes out of sight, system read only; records grow")
    # A group that the unit adds still counts in a user namespace of its own; this one the user is not in.
    probe = Path("/srv/probe")
    probe.write_text("seen\n")
    os.chown(probe, 0, grp.getgrnam("plugdev").gr_gid)
    probe.chmod(0o660)
    options = ("User=cfvgg", "PrivateUsers=yes", "SupplementaryGroups=plugdev")
    run = ("systemd-run", "--quiet", "--wait", "--pipe", *(f"-p{option}" for option in options))
    assert call(*run, "cat", str(probe)) == "seen\n"
    call(*run[:-1], "cat", str(probe), expect=1)
    probe.unlink()
    say("ok: files of an added group are within reach, others are not")


def check_killed() -> None:
    pid = unit("MainPID")
    call("kill", "-9", pid)
    seconds = wait_for(
        "restart", lambda: unit("MainPID") not in ("0", pid) and unit("ActiveState") == "active"
    )
    assert unit("NRestarts") == "1"
    say(f"ok: kill -9, ready again after {seconds:.1f} s")


def check_watchdog() -> None:
    pid = unit("MainPID")
    call("kill", "-STOP", pid)
    seconds = wait_for(
        "watchdog", lambda: unit("MainPID") not in ("0", pid) and unit("ActiveState") == "active"
    )
    assert unit("NRestarts") == "2"
    said = journal()
    assert f"Watchdog timeout (limit {WATCHDOG_S}s)" in said, said
    assert "Fatal Python error: Aborted" in said, said
    status = edge("service", "status")
    assert re.search(r"last exit +Main process exited, code=\w+, status=6/ABRT", status), status
    say(
        f"ok: a loop that stands still is killed (watchdog {WATCHDOG_S} s), ready again after {seconds:.1f} s"
    )


def check_no_port() -> None:
    listening = call("ss", "-Hltn")
    assert listening == "", listening
    say("ok: no TCP port (ss -ltn)")


def check_stop() -> None:
    start_s = time.monotonic()
    call("systemctl", "stop", UNIT)
    seconds = time.monotonic() - start_s
    assert (unit("ActiveState"), unit("Result"), unit("ExecMainStatus")) == ("inactive", "success", "0"), (
        journal()
    )
    assert not RUNTIME.exists()
    assert seconds < 5, seconds
    say(f"ok: stopped cleanly in {seconds:.2f} s, sockets' folder gone")


def check_bad_settings() -> None:
    """What a person must mend is not tried again."""
    good = CONFIG.read_bytes()
    CONFIG.write_bytes(good + b"[nonsense]\n")
    call("systemctl", "start", UNIT, expect=1)
    time.sleep(1)
    assert (unit("ActiveState"), unit("ExecMainStatus")) == ("failed", "2"), journal()
    refused = edge("service", "install", "--now", expect=2)
    assert "unknown key 'nonsense'" in refused, refused
    report = edge("doctor", expect=1)
    assert re.search(r"failure +settings .*unknown key 'nonsense'", report), report
    assert re.search(r"failure +service ", report), report
    CONFIG.write_bytes(good)
    call("systemctl", "reset-failed", UNIT)
    say(f"ok: bad settings are not tried again; doctor:\n{report.strip()}")


def check_camera_gone() -> None:
    """The ladder: a camera goes, is opened again, is given up; systemd starts the service again."""
    good = CONFIG.read_text()
    quick = "reopen_wait_s = 0.1\nreopen_most_s = 0.1\ngive_up_after = 2\n"
    gone = '"fake:live=true&faults=disconnect@60:9999"\n'
    CONFIG.write_text(good.replace('"fake:live=true"\n', gone + quick))
    call("systemctl", "start", UNIT)
    seconds = wait_for("restart", lambda: unit("NRestarts") == "1" and unit("ActiveState") == "active")
    said = journal()
    assert "given up after 2 attempts" in said, said
    assert "code=exited, status=6" in said, said
    call("systemctl", "stop", UNIT)
    CONFIG.write_text(good)
    say(f"ok: a camera that is gone ends the process, and it is started again ({seconds:.1f} s)")


def check_boot() -> None:
    call("systemctl", "start", UNIT)
    report = edge("doctor")
    assert re.search(
        r"ok +sockets +control.sock, metrics.sock, preview.sock, tracks.sock in /run/cfvgg", report
    ), report
    assert re.search(r"ok +service +enabled, active", report), report
    assert re.search(r"ok +interpreter .*all of it by XNNPACK", report), report
    say(f"ok: doctor:\n{report.strip()}")


def check_uninstall(before: set[str]) -> None:
    (DROPINS / "50-test.conf").unlink()
    said = edge("service", "uninstall")
    say(f"ok: uninstalled:\n{said.strip()}")
    left = files(NOT_OURS) - before
    assert {path for path in left if not path.startswith("var/lib/cfvgg")} == {
        "etc/cfvgg",
        "etc/cfvgg/cfvgg.toml",
    }, left
    assert call("systemctl", "show", UNIT, "-p", "LoadState", "--value") == "not-found\n"
    assert "cfvgg" in call("getent", "passwd")
    said = edge("service", "uninstall", "--purge")
    say(f"ok: purged:\n{said.strip()}")
    left = files(NOT_OURS) - before
    assert left == set(), left
    call("getent", "passwd", "cfvgg", expect=2)
    call("getent", "group", "cfvgg", expect=2)
    assert edge("service", "uninstall", "--purge").count("\n") <= 6
    say("ok: nothing is left, of files or accounts")


def main() -> None:
    before = files(NOT_OURS)
    check_install()
    check_sandbox()
    check_commands()
    check_killed()
    check_watchdog()
    check_no_port()
    check_stop()
    check_bad_settings()
    check_camera_gone()
    check_boot()
    say(f"the journal:\n{journal()}")
    check_uninstall(before)


if __name__ == "__main__":
    main()
