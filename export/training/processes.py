"""One training in several processes or on several machines, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from edge_runtime.errors import ConfigError

# For the first process, which asks the teachers about a whole cache and validates alone.
LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: its number; 0 writes files and shows progress.
        count: of processes.
        device: what it computes on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Pairs of a batch that each process takes.

        Raises:
            ConfigError: the batch cannot be divided equally, which would change its mean.
        """
        if batch % self.count:
            raise ConfigError(
                f"run.batch = {batch} cannot be divided among {self.count} processes",
                fix=f"give a multiple of {self.count}",
            )
        return batch // self.count

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over the processes."""
        if self.count == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Losses on some levels leave the layers above them without a gradient.
        return DistributedDataParallel(module, device_ids=ids, find_unused_parameters=True)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, element by element."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values

    def wait(self) -> None:
        """Until all processes are here: what the first one does alone may take long."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the other processes, if `torchrun` started any (it sets WORLD_SIZE and more)."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if count == 1:
        yield Processes(0, 1, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
