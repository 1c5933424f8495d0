"""What the teachers say about a batch of crops: computed on the way, or once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from tqdm import tqdm

from edge_runtime.errors import WeightsError
from edge_runtime.files import storage_errors, write_atomic
from export.pairs.dataset import Pair, PairCrops
from export.student import level_sizes
from export.teachers.base import Teacher, aligned
from export.training.batches import pair_batches
from export.training.fidelity import compared_cells
from export.training.start import channels_last

Targets = list[dict[str, Tensor]]  # of every teacher: level to (2 n, channels, rows, columns)
DONE = "done.json"
FILL_BATCH = 16
FLUSH_EVERY = 512  # pairs


class Teachers:
    """Frozen networks, asked together.

    Args:
        teachers: on the device of the crops they will get.
        levels: those that are compared.
    """

    def __init__(self, teachers: Sequence[Teacher], levels: Sequence[str]) -> None:
        # Channels innermost: a third faster on the CPU.
        self.teachers = [channels_last(teacher) for teacher in teachers]
        self.levels = tuple(levels)

    def digests(self) -> list[str]:
        """SHA-256 of each network's weights, hexadecimal: a file's name does not tell what is in it."""
        found = []
        for teacher in self.teachers:
            digest = hashlib.sha256(f"{teacher.name} {teacher.levels}".encode())
            for name, tensor in teacher.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
            found.append(digest.hexdigest())
        return found

    @torch.no_grad()
    def targets(self, pairs: Pair) -> Targets:
        """Their maps of the n templates, then of the n search patches, at the cells that are compared."""
        crops = torch.cat([pairs.template, pairs.search]).float()
        crops = crops.contiguous(memory_format=torch.channels_last)
        sizes = level_sizes(*crops.shape[2:])
        found = []
        for teacher in self.teachers:
            levels = [level for level in teacher.levels if level in self.levels]
            maps = aligned(teacher(crops), teacher, sizes)
            found.append({level: compared_cells(level, maps[level]) for level in levels})
        return found


class CachedPairs(Dataset[tuple[Pair, Targets]]):
    """Pairs with their teachers' maps, made once and kept in a folder, half precision.

    The folder is one of `root`, named after everything that the maps depend on, so that runs with the same
    data and teachers share it. What was interrupted goes on from the last block.

    Args:
        pairs: the pairs; all of them are kept.
        teachers: asked for what is not there yet.
        identity: what pairs and teachers were made from.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """

    def __init__(self, root: Path, pairs: PairCrops, teachers: Teachers, identity: object) -> None:
        text = json.dumps([identity, len(pairs), teachers.levels], sort_keys=True, default=str)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.count, self._pairs, self._teachers = len(pairs), pairs, teachers
        self._arrays: dict[str, np.memmap[Any, Any]] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Pair, Targets]:
        if not self._arrays:
            self._arrays = {path.stem: np.load(path, mmap_mode="r") for path in self.folder.glob("*.npy")}
        item = {name: torch.from_numpy(array[index].copy()) for name, array in self._arrays.items()}
        pair = Pair(*(item[name] for name in Pair._fields))
        targets: Targets = [{} for _ in self._teachers.teachers]
        for name in sorted(item.keys() - set(Pair._fields)):
            number, level = name.split("-")
            targets[int(number)][level] = item[name]
        return pair, targets

    def fill(self, device: torch.device, workers: int) -> None:
        """Make what is missing, with progress."""
        done = self._done()
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with tqdm(total=self.count, initial=done, unit="pair", desc="teachers' features") as progress:
                missing = range(done, self.count)
                for batch in pair_batches(self._pairs, missing, FILL_BATCH, workers, device):
                    self._write(done, batch)
                    done += len(batch.template)
                    progress.update(len(batch.template))
                    if done % FLUSH_EVERY < FILL_BATCH or done == self.count:
                        self._mark(done)
        self._arrays = {}  # opened anew by whoever reads, workers among them

    def _write(self, start: int, batch: Pair) -> None:
        n = len(batch.template)
        parts = {name: part.cpu().numpy() for name, part in batch._asdict().items()}
        for number, maps in enumerate(self._teachers.targets(batch)):
            for level, x in maps.items():
                both = x.reshape(2, n, *x.shape[1:]).transpose(0, 1)  # an item's template and search together
                parts[f"{number}-{level}"] = both.half().cpu().numpy()
        for name, part in parts.items():
            if name not in self._arrays:
                self._arrays[name] = self._open(self.folder / f"{name}.npy", part)
            self._arrays[name][start : start + n] = part

    def _open(self, path: Path, part: NDArray[np.generic]) -> np.memmap[Any, Any]:
        if path.exists():
            old: np.memmap[Any, Any] = np.load(path, mmap_mode="r+")
            return old
        whole = (self.count, *part.shape[1:])
        array: np.memmap[Any, Any] = open_memmap(path, "w+", part.dtype, whole)  # type: ignore[no-untyped-call]  # numpy
        # A full disk must be an error here, not a signal when a page is written.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array

    def _done(self) -> int:
        try:
            return int(json.loads((self.folder / DONE).read_text(encoding="utf-8"))["pairs"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError) as error:
            where = self.folder / DONE
            raise WeightsError(f"cannot be read ({error})", where=where, fix="remove the folder") from error

    def _mark(self, done: int) -> None:
        for array in self._arrays.values():
            array.flush()
        write_atomic(self.folder / DONE, json.dumps({"pairs": done}).encode())


def collate(items: Sequence[tuple[Pair, Targets]]) -> tuple[Pair, Targets]:
    """A batch: pairs stacked, and of the maps first all templates', then all search patches'."""
    pairs, targets = default_collate(list(items))
    return Pair(*pairs), [{level: _in_order(x) for level, x in maps.items()} for maps in targets]


def _in_order(maps: Tensor) -> Tensor:
    return maps.transpose(0, 1).flatten(0, 1).float()
