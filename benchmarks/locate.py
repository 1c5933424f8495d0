"""In how many pairs of held-out videos a filter of eq. 2 finds the target, by network and level; prints JSON.

    python -m benchmarks.locate --videos ../shared/data/videos --photos ../shared/data/photos \
        ours=export/weights/cfvgg-x64.safetensors authors=../shared/data/weights/CF_VGGM.mat

Tells students apart with far less chance than tracking does: a pair is one trial, a sequence that is lost is
one as well. Three sets of pairs: neighbouring frames, far ones in other light, and with something over or
beside the target. The videos are those that `cfvgg-export distill` holds out with the same seed and share.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from calibration.pictures import find_pictures
from edge_runtime.errors import CfvggError
from export.checkpoints import Student, load_student
from export.matconvnet import load_matconvnet
from export.pairs.clips import read_clips, split_clips
from export.pairs.dataset import Pair, PairCrops, PairSettings
from export.student import LEVELS
from export.training.batches import pair_batches
from export.training.correlation import FilterSettings, FilterTask
from export.training.location import located

BATCH = 32
SETS = {
    "near": {"augment": False},
    "far": {"light": 0.5, "max_gap_frames": 100},
    "hard": {"hard": 1.0, "max_gap_frames": 60},
}


def main() -> int:
    """Returns the exit status."""
    p = argparse.ArgumentParser(
        prog="locate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("networks", nargs="+", metavar="NAME=FILE", help=".safetensors or .mat")
    p.add_argument("--videos", type=Path, required=True, help="as for cfvgg-export distill")
    p.add_argument("--photos", type=Path, required=True, help="what is put over or beside targets")
    p.add_argument("--held-out", type=float, default=0.2, help="share of the videos (default: 0.2)")
    p.add_argument("--seed", type=int, default=0, help="of which are held out (default: 0)")
    p.add_argument("--pairs", type=int, default=768, help="in each set (default: 768)")
    p.add_argument("--crop-px", type=int, default=224, help="side of the crops (default: 224)")
    args = p.parse_args()
    try:
        students = {text.partition("=")[0]: read(Path(text.partition("=")[2])) for text in args.networks}
        _, clips = split_clips(read_clips(args.videos), args.held_out, args.seed)
        found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in students}
        for kind, changes in SETS.items():
            settings = PairSettings(crop_px=args.crop_px, photo_share=0.0, **changes)
            pairs = PairCrops(clips, find_pictures(args.photos), settings, args.pairs, args.seed + 7)
            for name, share in shares(students, pairs).items():
                found[name][kind] = share
    except CfvggError as error:
        print(f"locate: {error}", file=sys.stderr)
        return error.exit_code
    videos = sorted({clip.video for clip in clips})
    print(json.dumps({"pairs": args.pairs, "videos": videos, "located": found}, indent=1))
    return 0


def read(path: Path) -> Student:
    """A network's weights. Raises `WeightsError`."""
    return load_matconvnet(path) if path.suffix == ".mat" else load_student(path)


@torch.no_grad()
def shares(students: dict[str, Student], pairs: PairCrops) -> dict[str, dict[str, float]]:
    """By network and level, the share of the pairs in which the target is found."""
    hits: dict[str, dict[str, list[Tensor]]] = {name: {x: [] for x in LEVELS} for name in students}
    for batch in pair_batches(pairs, range(len(pairs)), BATCH, 0, torch.device("cpu")):
        for name, student in students.items():
            for level, hit in found_by(student, batch):
                hits[name][level].append(hit)
    return {
        name: {level: round(float(torch.cat(hit).float().mean()), 4) for level, hit in levels.items()}
        for name, levels in hits.items()
    }


def found_by(student: Student, batch: Pair) -> Iterator[tuple[str, Tensor]]:
    """Levels, and for each pair whether the target is found on it."""
    n = len(batch.template)
    mean = torch.from_numpy(np.atleast_3d(student.mean).astype(np.float32))
    mean = mean.permute(2, 0, 1) if student.mean.ndim == 3 else mean.reshape(3, 1, 1)
    crops = torch.cat([batch.template, batch.search]).float()
    if mean.shape[1] > 1:  # a mean image, as large as the crops
        mean = torch.nn.functional.interpolate(mean[None], size=crops.shape[2:], mode="bilinear")[0]
    task = FilterTask(batch.shift_px, batch.target_px)
    for level, x in student.model.eval()(crops - mean)._asdict().items():
        yield level, located(level, x[:n], x[n:], task, FilterSettings())


if __name__ == "__main__":
    sys.exit(main())
