"""In how many pairs of held-out videos a filter of eq. 2 finds the target, by network and level; prints JSON.

    python -m benchmarks.locate --videos ../shared/data/videos --photos ../shared/data/photos \
        ours=export/weights/cfvgg-x64.safetensors authors=../shared/data/weights/CF_VGGM.mat \
        teacher=../shared/data/weights/squeezenet_v1.0.npz

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

import torch
from torch import Tensor

from benchmarks.arguments import at_least
from benchmarks.variants import torch_features
from calibration.pictures import find_pictures
from edge_runtime.errors import CfvggError, ConfigError
from edge_runtime.features import FeatureExtractor
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
    p.add_argument(
        "networks", nargs="+", metavar="NAME=FILE", help="students (.safetensors, .mat) or teachers (.npz)"
    )
    p.add_argument("--videos", type=Path, required=True, help="as for cfvgg-export distill")
    p.add_argument("--photos", type=Path, required=True, help="what is put over or beside targets")
    p.add_argument("--held-out", type=float, default=0.2, help="share of the videos (default: 0.2)")
    p.add_argument("--seed", type=int, default=0, help="of which are held out (default: 0)")
    p.add_argument("--pairs", type=at_least(1), default=768, help="in each set (default: 768)")
    p.add_argument("--crop-px", type=at_least(64), default=224, help="side of the crops (default: 224)")
    args = p.parse_args()
    try:
        split = [text.partition("=") for text in args.networks]
        networks = {name: torch_features(Path(path)) for name, _, path in split}
        _, clips = split_clips(read_clips(args.videos), args.held_out, args.seed)
        found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in networks}
        for kind, changes in SETS.items():
            settings = PairSettings(crop_px=args.crop_px, photo_share=0.0, **changes)
            pairs = PairCrops(clips, find_pictures(args.photos), settings, args.pairs, args.seed + 7)
            for name, share in shares(networks, pairs).items():
                found[name][kind] = share
    except CfvggError as error:
        print(f"locate: {error}", file=sys.stderr)
        return error.exit_code
    videos = sorted({clip.video for clip in clips})
    print(json.dumps({"pairs": args.pairs, "videos": videos, "located": found}, indent=1))
    return 0


def shares(networks: dict[str, FeatureExtractor], pairs: PairCrops) -> dict[str, dict[str, float]]:
    """By network and level, the share of the pairs in which the target is found, 0 to 1."""
    hits: dict[str, dict[str, list[Tensor]]] = {name: {} for name in networks}
    for batch in pair_batches(pairs, range(len(pairs)), BATCH, 0, torch.device("cpu")):
        for name, network in networks.items():
            for level, hit in found_by(network, batch):
                hits[name].setdefault(level, []).append(hit)
    return {
        name: {level: round(float(torch.cat(hit).float().mean()), 4) for level, hit in levels.items()}
        for name, levels in hits.items()
    }


def found_by(network: FeatureExtractor, batch: Pair) -> Iterator[tuple[str, Tensor]]:
    """For each level that the network has, whether the target of each of the n pairs is found, bool (n,)."""
    n, task = len(batch.template), FilterTask(batch.shift_px, batch.target_px)
    rgb = torch.cat([batch.template, batch.search]).permute(0, 2, 3, 1).numpy()
    levels = tuple(level for level in LEVELS if has_level(network, level))
    for level, maps in zip(levels, network.extract(rgb[..., ::-1], levels), strict=True):
        x = torch.from_numpy(maps).permute(0, 3, 1, 2)
        yield level, located(level, x[:n], x[n:], task, FilterSettings())


def has_level(network: FeatureExtractor, level: str) -> bool:
    """Teachers lack conv3."""
    try:
        network.level(level)
    except ConfigError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
