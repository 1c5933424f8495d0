"""Installed, started, asked, killed, and removed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edge_runtime.preview.stream import JPEG, PartReader
from tests.systemd.emulated.device import UNIT, Device
from tests.systemd.emulated.report import Report, excerpt

CLIP = "/srv/clip.avi"
SETTINGS = "/etc/cfvgg/cfvgg.toml"
DROPINS = f"/etc/systemd/system/{UNIT}.d"
GROUP = f"/sys/fs/cgroup/system.slice/{UNIT}"
WATCHDOG_S = 30
OFFERED_HZ = 2  # frames a second: what the emulation can follow
TOO_MUCH_MB = 900
EXPOSURE_MOST = 2.0
SETTINGS_TEXT = f"""\
[source]
uri = "{CLIP}"
loop = true
realtime = true
rate_hz = {OFFERED_HZ}
[target]
box = {{box}}
[tracker]
preset = "fkcf"
[output]
tracks = "/var/lib/cfvgg/tracks.jsonl"
"""


def prepare(device: Device, clip: Path, box: list[float]) -> None:
    """A video that anyone may read, and settings that loop it."""
    with clip.open("rb") as video:
        device.machine.run(f"sudo tee {CLIP} > /dev/null", stdin=video)
    settings = SETTINGS_TEXT.format(box=box)
    device.machine.run(f"sudo mkdir -p /etc/cfvgg && sudo tee {SETTINGS} > /dev/null << 'END'\n{settings}END")


def check_tar(device: Device, report: Report, tar: Path) -> None:
    """The README's one command."""
    with report.step("installed by the one command") as facts, tar.open("rb") as archive:
        facts["MB"] = round(tar.stat().st_size / 1e6)
        said = device.machine.run("tar x && sudo cfvgg-edge/install", stdin=archive, timeout_s=3000)
        assert device.machine.run("command -v cfvgg-edge") == "/usr/local/bin/cfvgg-edge\n", said
        assert device.unit("UnitFileState") == "enabled", said
        excerpt("ssh pi 'tar x && sudo cfvgg-edge/install' < dist/....tar", said)


def check_deb(device: Device, report: Report, package: Path) -> None:
    """The Debian package."""
    with report.step("installed as a Debian package") as facts, package.open("rb") as archive:
        facts["MB"] = round(package.stat().st_size / 1e6)
        place = f"/tmp/{package.name}"
        said = device.machine.run(
            f"cat > {place} && sudo DEBIAN_FRONTEND=noninteractive apt-get -y install {place}; rm {place}",
            stdin=archive,
            timeout_s=3000,
        )
        assert device.machine.run("command -v cfvgg-edge") == "/usr/bin/cfvgg-edge\n", said
        changed = device.machine.run("dpkg -V cfvgg-edge")
        assert changed == "", changed
        assert device.unit("UnitFileState") == "enabled", said
        excerpt("apt-get install ./....deb", said)


def check_screens(device: Device, report: Report) -> None:
    """What a person asks for."""
    with report.step("doctor, status, journal, systemd-analyze"):
        doctor = device.machine.run("sudo cfvgg-edge doctor", expect=None)
        assert re.search(r"ok +service +enabled, active", doctor), doctor
        assert re.search(r"ok +interpreter ", doctor), doctor
        excerpt("cfvgg-edge doctor", doctor)
        status = device.machine.run("sudo cfvgg-edge status")
        # Of two frames a second that are offered few are seen, and the target moves on: it may be lost.
        assert re.search(r"target 1 +(tracking|uncertain|lost|reacquired)", status), status
        device.machine.run('sudo grep -m 1 \'"state": *"tracking"\' /var/lib/cfvgg/tracks.jsonl')
        excerpt("cfvgg-edge status", status)
        excerpt("systemctl status", device.machine.run(f"systemctl status {UNIT} --no-pager -n 0"))
        excerpt("journal", device.journal(20))
        exposure = device.machine.run(f"systemd-analyze security {UNIT} --no-pager").splitlines()[-1]
        level = re.search(r"level for \S+: ([\d.]+)", exposure)
        assert level is not None, exposure
        assert float(level[1]) <= EXPOSURE_MOST, exposure
        excerpt("systemd-analyze security", exposure)


def check_preview(device: Device, report: Report) -> None:
    """Pictures through ssh, and no port for them."""
    with report.step("preview through ssh, no port but sshd's") as facts:
        reader, pictures = PartReader(), 0
        command = "sudo cfvgg-edge preview --stdout --width 160"
        with device.machine.running(command) as process:
            assert process.stdout is not None
            while pictures < 3:
                data = os.read(process.stdout.fileno(), 1 << 16)
                assert data, "the preview ended"
                parts = [part for part in reader.feed(data) if part.content_type == JPEG]
                assert all(part.body.startswith(b"\xff\xd8") for part in parts)
                pictures += len(parts)
        listening = device.machine.run("ss -Hltn").splitlines()
        assert {line.split()[3].rpartition(":")[2] for line in listening} == {"22"}, listening
        facts["pictures"] = pictures
        excerpt("ss -Hltn", "\n".join(listening))


def check_sandbox(device: Device, report: Report) -> None:
    """Limits that only a real kernel enforces; root, once in the service's control group, has them too."""
    with report.step("memory and devices are limited") as facts:
        pid = device.unit("MainPID")
        enter = f"sudo sh -c 'echo $$ > {GROUP}/cgroup.procs; exec"
        device.machine.run(f"{enter} head -c 1 /dev/zero'")
        device.machine.run("sudo head -c 1 /dev/vda")
        refused = device.machine.run(f"{enter} head -c 1 /dev/vda'", expect=1)
        assert "Operation not permitted" in refused, refused
        limit_mb = int(device.machine.run(f"cat {GROUP}/memory.max")) / 2**20
        assert limit_mb < TOO_MUCH_MB
        take = f'python3 -c "b = bytearray({TOO_MUCH_MB} << 20)"'
        device.machine.run(f"sudo {take}")
        device.machine.run(f"{enter} {take}'; exit $?", expect=137)  # ssh itself would not tell
        assert device.unit("MainPID") == pid, device.journal()
        facts["MemoryMax MB"], facts["refused"] = limit_mb, "/dev/vda"


def check_killed(device: Device, report: Report) -> None:
    """The tracker dies, and the tracker stands still."""
    with report.step("kill -9"):
        pid = int(device.unit("MainPID"))
        device.machine.run(f"sudo kill -9 {pid}")
        device.tracks(pid)
        assert device.unit("NRestarts") == "1"
    with report.step(f"stands still: watchdog, {WATCHDOG_S} s instead of 60"):
        dropin = f"{DROPINS}/50-test.conf"
        device.machine.run(
            f"printf '[Service]\\nWatchdogSec={WATCHDOG_S}s\\n' | sudo tee {dropin} > /dev/null"
        )
        device.machine.run(f"sudo systemctl daemon-reload && sudo systemctl restart {UNIT}", timeout_s=600)
        pid = device.tracks()["pid"]
        device.machine.run(f"sudo kill -STOP {pid}")
        device.tracks(pid)
        said = device.journal(lines=300)  # the program's own last words, of every thread, are long
        assert f"Watchdog timeout (limit {WATCHDOG_S}s)" in said, said
        device.machine.run(f"sudo rm {dropin} && sudo systemctl daemon-reload")
        device.machine.run(f"sudo systemctl restart {UNIT}", timeout_s=600)
        device.tracks()


def check_removed(device: Device, report: Report, command: str, before: set[str]) -> None:
    """Nothing is left."""
    with report.step(f"removed: {command}"):
        said = device.machine.run(command, timeout_s=600)
        left = device.files() - before - {CLIP}
        assert left == set(), sorted(left)
        assert device.unit("LoadState") == "not-found"
        excerpt(command, said)
