"""Folders that stand for a machine."""

from __future__ import annotations

import os
from pathlib import Path


def files(root: Path) -> set[str]:
    """Every file and link below a folder."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}


class Tree:
    """A machine made of files; the methods return it, so that calls can be chained."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def file(self, path: str, text: str = "") -> Tree:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return self

    def device(self, path: str, mode: int = 0o660) -> Tree:
        self.file(path)
        (self.root / path.lstrip("/")).chmod(mode)
        return self

    def link(self, path: str, target: str) -> Tree:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
        return self

    def video(self, node: str, name: str, index: int = 0, driver: str = "") -> Tree:
        """A node of Video4Linux in /sys and /dev."""
        folder = f"/sys/class/video4linux/{node}"
        self.file(f"{folder}/name", f"{name}\n").file(f"{folder}/index", f"{index}\n")
        if driver:
            (self.root / "sys/bus/drivers" / driver).mkdir(parents=True, exist_ok=True)
            self.link(f"{folder}/device/driver", str(self.root / "sys/bus/drivers" / driver))
        return self.device(f"/dev/{node}")

    def holder(self, pid: int, program: str, device: str) -> Tree:
        """A process that has a device open."""
        self.file(f"/proc/{pid}/comm", f"{program}\n")
        return self.link(f"/proc/{pid}/fd/5", device)

    def accounts(self, video: int | None = None) -> Tree:
        """The service's user, and the group of the test as "video" unless another number is given."""
        number = os.getgid() if video is None else video
        self.file(
            "/etc/passwd", "root:x:0:0::/root:/bin/sh\ncfvgg:x:64001:64001::/var/lib/cfvgg:/bin/false\n"
        )
        return self.file("/etc/group", f"video:x:{number}:pi\ncfvgg:x:64001:\n")


MEMINFO = "MemTotal: {0} kB\nMemAvailable: {1} kB\nCmaTotal: {2} kB\nCmaFree: {3} kB\n"
CPU = "processor\t: 0\nFeatures\t: {0}\nCPU part\t: {1}\n\nprocessor\t: 1\nFeatures\t: {0}\nCPU part\t: {1}\n"


def raspberry_pi(root: Path, model: int) -> Tree:
    """A healthy Raspberry Pi 4 or 5 with a camera on its port, and the service installed."""
    soc = "soc" if model == 4 else "soc@107c000000"
    features = "fp asimd crc32" if model == 4 else "fp asimd crc32 asimdhp asimddp"
    receiver = "unicam-image" if model == 4 else "rp1-cfe-csi2_ch0"
    tree = (
        Tree(root)
        .accounts()
        .file("/proc/device-tree/model", f"Raspberry Pi {model} Model B Rev 1.1\0")
        .file("/etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
        .file("/proc/meminfo", MEMINFO.format(3_800_000, 3_000_000, 524_288, 450_000))
        .file("/proc/cpuinfo", CPU.format(features, "0xd08" if model == 4 else "0xd0b"))
        .file("/proc/mounts", "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\nproc /proc proc ro 0 0\n")
        .file("/run/systemd/timesync/synchronized")
        .file(f"/sys/devices/platform/{soc}/soc:firmware/get_throttled", "0\n")
        .file("/sys/class/thermal/thermal_zone0/temp", "48312\n")
        .file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
        .file("/sys/class/video4linux/v4l-subdev0/name", "imx708 10-001a\n")
        .video("video0", receiver)
        .video("video13", "bcm2835-isp-output0" if model == 4 else "pispbe-input")
        .device("/dev/media0")
        .device("/dev/dma_heap/linux,cma")
        .device("/dev/dma_heap/system")
        .holder(1, "systemd", "/dev/null")
    )
    (root / "var/lib/cfvgg").mkdir(parents=True)
    (root / "var/lib/cfvgg").chmod(0o777)
    return tree
