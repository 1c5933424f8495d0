"""An arm64 machine that qemu emulates, with a disk that keeps what was written when its power is cut."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

USER = "pi"
HOST = "127.0.0.1"
BOOT_LIMIT_S = 1500.0  # a quarter of a minute where nothing else runs
KERNEL_ARGUMENTS = "root=/dev/vda rw console=ttyAMA0 net.ifnames=0 panic=-1 quiet systemd.show_status=no"


@dataclass(frozen=True)
class Hardware:
    """What is emulated; the defaults are a small Pi 4, with as many cores as the slow emulation can use."""

    processor: str = "cortex-a72"
    cores: int = 2
    memory_mb: int = 2048


class Machine:
    """One machine and its disk, reached by ssh through a port of this machine's loopback.

    Args:
        image: folder that `.ci/arm64-machine` made.
        work: folder for the disk, the console's text and what ssh remembers.
    """

    def __init__(self, image: Path, work: Path, hardware: Hardware) -> None:
        self._image, self._work, self._hardware = image, work, hardware
        self._disk = work / "disk.qcow2"
        self.console = work / "console.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        # A socket's path has room for 100 characters, which a checkout's may exceed.
        self._sockets = tempfile.TemporaryDirectory(prefix="cfvgg-boot-")
        work.mkdir(parents=True, exist_ok=True)

    def new_disk(self) -> None:
        """A disk on which nothing but Debian is; what was on the old one is gone."""
        backing = ("-b", str((self._image / "disk.ext4").resolve()), "-F", "raw")
        call = ("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self._disk))
        subprocess.run(call, check=True)

    def start(self) -> float:
        """Switch it on; seconds until it answers by ssh."""
        assert self._process is None
        self._port = free_port()
        (self._work / "known_hosts").unlink(missing_ok=True)
        start_s = time.monotonic()
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                self._qemu(), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        while self._ssh("true", timeout_s=200).returncode:
            assert self._process.poll() is None, f"qemu ended\n{self._console_end()}"
            assert time.monotonic() - start_s < BOOT_LIMIT_S, f"does not boot\n{self._console_end()}"
            time.sleep(0.5)
        return time.monotonic() - start_s

    def run(
        self,
        command: str,
        *,
        stdin: IO[bytes] | None = None,
        expect: int | None = 0,
        timeout_s: float = 300.0,
    ) -> str:
        """What a shell command prints there, on both ways, if it ends with the expected code."""
        done = self._ssh(f"exec 2>&1\n{command}", stdin=stdin, timeout_s=timeout_s)
        text = done.stdout.decode(errors="replace")
        assert expect is None or done.returncode == expect, f"{command}: {done.returncode}\n{text}"
        return text

    def binary(self, command: str, timeout_s: float) -> bytes:
        """What a command writes to its standard output, however it ends."""
        return self._ssh(command, timeout_s=timeout_s).stdout

    @contextlib.contextmanager
    def running(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that goes on there; given up at the end."""
        process = subprocess.Popen(
            self._ssh_call(command, shared=False), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def put(self, source: Path, target: str) -> None:
        """Copy a folder there, as `target`."""
        quoted = shlex.quote(target)
        with subprocess.Popen(("tar", "-C", str(source), "-c", "."), stdout=subprocess.PIPE) as tar:
            self.run(f"mkdir -p {quoted} && tar -C {quoted} -x", stdin=tar.stdout, timeout_s=600)

    def log_in_again(self) -> None:
        """Later commands are a new login's, with the groups that the user is in now."""
        call = ["ssh", "-F", "none", *self.ssh_options(), "-O", "exit", f"{USER}@{HOST}"]
        subprocess.run(call, stderr=subprocess.DEVNULL, check=True)

    def ssh_options(self, *, shared: bool = True) -> list[str]:
        """Options that make any ssh reach it."""
        options = {
            "Port": str(self._port),
            "IdentityFile": str((self._image / "id").resolve()),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self._work.resolve() / "known_hosts"),
            "StrictHostKeyChecking": "accept-new",
            "BatchMode": "yes",
            "ConnectTimeout": "20",
            "LogLevel": "ERROR",
        }
        if shared:  # under emulation a handshake takes a second
            options |= {
                "ControlMaster": "auto",
                "ControlPath": f"{self._sockets.name}/%C",
                "ControlPersist": "600",
            }
        return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]

    def cut_power(self) -> None:
        """kill -9 of the whole machine."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def power_off(self) -> float:
        """Shut it down; seconds that takes."""
        assert self._process is not None
        start_s = time.monotonic()
        self.run("sudo systemctl poweroff", expect=None)
        self._process.wait(timeout=BOOT_LIMIT_S)
        assert self._process.returncode == 0, self._console_end()
        self._process = None
        return time.monotonic() - start_s

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None:
            self.cut_power()
        self._sockets.cleanup()

    @property
    def resident_mb(self) -> float:
        """Memory that the emulation takes."""
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _qemu(self) -> list[str]:
        hardware, image = self._hardware, self._image
        # Without their boot ROMs, which Debian packages apart.
        devices = {
            "blockdev": "driver=qcow2,node-name=disk,file.driver=file,file.filename={}".format(
                str(self._disk).replace(",", ",,")
            ),
            "netdev": f"user,id=net,restrict=on,hostfwd=tcp:{HOST}:{self._port}-:22",
        }
        call = [
            "qemu-system-aarch64",
            "-M",
            "virt",
            "-cpu",
            hardware.processor,
            "-m",
            str(hardware.memory_mb),
        ]
        call += ["-smp", str(hardware.cores), "-accel", "tcg,thread=multi", "-no-reboot", "-display", "none"]
        call += ["-monitor", "none", "-serial", "stdio", "-append", KERNEL_ARGUMENTS]
        call += ["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.gz")]
        call += ["-blockdev", devices["blockdev"], "-device", "virtio-blk-pci,drive=disk,romfile="]
        call += ["-netdev", devices["netdev"], "-device", "virtio-net-pci,netdev=net,romfile="]
        return [*call, "-device", "virtio-rng-pci,romfile="]

    def _ssh_call(self, command: str, *, shared: bool) -> list[str]:
        return ["ssh", "-F", "none", *self.ssh_options(shared=shared), f"{USER}@{HOST}", command]

    def _ssh(
        self, command: str, *, timeout_s: float, stdin: IO[bytes] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self._ssh_call(command, shared=True),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )

    def _console_end(self) -> str:
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-40:])


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
