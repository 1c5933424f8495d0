"""Batches of pairs with what the teachers say about them, for one process of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from export.pairs.dataset import PAIRS_VERSION, Pair
from export.training.batches import loaded, pair_batches
from export.training.config import DistillConfig
from export.training.data import TrainingData
from export.training.processes import Processes
from export.training.targets import CachedPairs, Targets, Teachers, collate

VALIDATION_BATCH = 32
FIRST_BATCH = 16

Order = NDArray[np.int64]


class Feed:
    """See `training` and `validation`. With `run.cache`, the teachers' maps are made first, once.

    Raises:
        ConfigError: the batch cannot be divided among the processes.
        StorageError: the cache cannot be written.
    """

    def __init__(
        self, config: DistillConfig, data: TrainingData, teachers: Teachers, processes: Processes
    ) -> None:
        self._run, self._data, self._teachers = config.run, data, teachers
        self._processes, self._device = processes, processes.device
        self._share = processes.share(config.run.batch)
        self._cached: CachedPairs | None = None
        if config.run.cache and teachers.teachers:
            identity = [
                PAIRS_VERSION,
                asdict(config.data),
                asdict(config.pairs),
                data.counts,
                teachers.digests(),
                config.run.seed,
            ]
            self._cached = CachedPairs(Path(config.run.cache), data.trained, teachers, identity)
            if processes.first:
                self._cached.fill(self._device, config.run.workers)
            processes.wait()
        self._validation: list[tuple[Pair, Targets]] = []

    def training(self, first_step: int) -> Iterator[tuple[Pair, Targets]]:
        """This process's share of every batch from `first_step` on."""
        run, share = self._run, self._share
        order = drawn(len(self._data.trained), run.steps * run.batch, run.seed)
        first = self._processes.rank * share
        indices = order.reshape(run.steps, run.batch)[first_step:, first : first + share].ravel()
        if self._cached is not None:
            cached = loaded(
                self._cached, indices, share, workers=run.workers, device=self._device, collate=collate
            )
            for pairs, targets in cached:
                yield self._moved(pairs), [self._moved_maps(maps) for maps in targets]
            return
        for pairs in pair_batches(self._data.trained, indices, share, run.workers, self._device):
            yield pairs, self._teachers.targets(pairs)

    def first(self, pairs: int) -> list[Targets]:
        """What the teachers say about the first pairs."""
        trained = self._data.trained
        found = pair_batches(trained, range(min(pairs, len(trained))), FIRST_BATCH, 0, self._device)
        return [self._teachers.targets(batch) for batch in found]

    def validation(self) -> Iterator[tuple[Pair, Targets]]:
        """Pairs that are never trained on; the teachers are asked once, their answers kept as halves."""
        if not self._validation:
            pairs = self._data.validated
            for batch in pair_batches(pairs, range(len(pairs)), VALIDATION_BATCH, 0, self._device):
                targets = self._teachers.targets(batch)
                self._validation.append((batch, [{k: v.half() for k, v in maps.items()} for maps in targets]))
        for batch, targets in self._validation:
            yield batch, [{k: v.float() for k, v in maps.items()} for maps in targets]

    def _moved(self, pairs: Pair) -> Pair:
        return Pair(*(part.to(self._device, non_blocking=True) for part in pairs))

    def _moved_maps(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        return {level: x.to(self._device, non_blocking=True) for level, x in maps.items()}


def drawn(items: int, count: int, seed: int) -> Order:
    """Which item each of `count` draws takes: all once in one order, then all again in another."""
    rng = np.random.default_rng([seed, items])
    epochs = -(-count // items)
    order: Order = np.concatenate([rng.permutation(items) for _ in range(epochs)])[:count]
    return order
