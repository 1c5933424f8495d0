"""Batches of pairs, on the device that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from export.pairs.dataset import Pair

Batch = TypeVar("Batch")


def pair_batches(
    pairs: Dataset[Pair], indices: Iterable[int], batch: int, workers: int, device: torch.device
) -> Iterator[Pair]:
    """Pairs with these indices, `batch` at a time, on the device; `workers` processes read pictures."""
    for found in loaded(pairs, indices, batch, workers=workers, device=device):
        yield Pair(*(part.to(device, non_blocking=True) for part in found))


def loaded(
    data: Dataset[Any],
    indices: Iterable[int],
    batch: int,
    *,
    workers: int,
    device: torch.device,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader[Any]:
    """Items with these indices in batches, still on the CPU."""
    if workers:
        # Before the fork: OpenCV's threads do not survive it, and stopping them in a worker waits forever.
        cv2.setNumThreads(1)
    return DataLoader(
        data,
        batch,
        sampler=indices,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
    )
