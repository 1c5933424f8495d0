"""All checks, in order, on one machine: python -m tests.systemd.emulated --help."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from tests.systemd.emulated import product
from tests.systemd.emulated.bundles import bundles
from tests.systemd.emulated.camera import CameraChecks
from tests.systemd.emulated.deployments import DeployChecks
from tests.systemd.emulated.device import UNIT, Device
from tests.systemd.emulated.machine import Hardware, Machine
from tests.systemd.emulated.report import Report, excerpt, say

REMOVE_TAR = "sudo /opt/cfvgg/install --remove --purge"
REMOVE_DEB = "sudo DEBIAN_FRONTEND=noninteractive apt-get -y purge cfvgg-edge"


@dataclass(frozen=True)
class Files:
    """What is needed from this machine."""

    tar: Path
    deb: Path
    clip: Path
    bundles: Path


def main() -> None:
    """Parse, run, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True, help="what .ci/arm64-machine made")
    parser.add_argument("--work", type=Path, required=True, help="folder for the disk and the console")
    parser.add_argument("--processor", default="cortex-a72")
    for name in ("tar", "deb", "clip", "bundles"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    report = Report()
    machine = Machine(given.image, given.work, Hardware(given.processor))
    try:
        run(machine, report, Files(given.tar, given.deb, given.clip, given.bundles))
    finally:
        machine.close()
        say(report.json())


def run(machine: Machine, report: Report, files: Files) -> None:
    """Everything."""
    device = Device(machine)
    with report.step("boots, answers by ssh") as facts:
        machine.new_disk()
        facts["ssh after s"] = round(machine.start(), 1)
        facts["state"] = machine.run("systemctl is-system-running --wait", expect=None).strip()
        excerpt(
            "the machine", machine.run("uname -a; grep -m1 Features /proc/cpuinfo; free -m; systemd-analyze")
        )
    product.prepare(device, files.clip, first_box(files.clip))
    before = device.files()
    product.check_deb(device, report, files.deb)
    check_deployed(device, report, DeployChecks(device, report, bundles(files.bundles)))
    machine.run(f"sudo systemctl stop {UNIT}")  # it would be the one that `status` asks
    CameraChecks(machine, report).all()
    product.check_removed(device, report, REMOVE_DEB, before)
    product.prepare(device, files.clip, first_box(files.clip))
    product.check_tar(device, report, files.tar)
    DeployChecks(device, report, bundles(files.bundles)).first()
    product.check_screens(device, report)
    product.check_removed(device, report, REMOVE_TAR, before)
    with report.step("switched off") as facts:
        facts["qemu MB"] = round(machine.resident_mb)
        facts["off after s"] = round(machine.power_off(), 1)


def check_deployed(device: Device, report: Report, deploy: DeployChecks) -> None:
    """A service on a video, and every way to another bundle."""
    deploy.first()
    product.check_screens(device, report)
    product.check_preview(device, report)
    product.check_sandbox(device, report)
    product.check_killed(device, report)
    deploy.second()
    deploy.bad()
    deploy.connection_lost()
    deploy.power_cut_during_upload()
    deploy.power_cut_after_upload()
    deploy.power_cut_during_trial()
    deploy.rollback()


def first_box(clip: Path) -> list[float]:
    """Where the target is in the clip's first frame."""
    line = (clip.parent / "groundtruth.txt").read_text().splitlines()[0]
    return [float(value) for value in line.split(",")]


if __name__ == "__main__":
    main()
