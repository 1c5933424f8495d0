"""What runs in the process that trains, for `benchmarks.adaptation`: a module that can be imported."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measure import peak_rss_mb
from edge_runtime.adaptation.background import Adapted, Request, train


@dataclass(frozen=True)
class WithMemory(Adapted):
    """A result that knows what its process took."""

    peak_rss_mb: float = 0.0


def train_and_measure(request: Request) -> Adapted:
    """The worker."""
    return WithMemory(**vars(train(request)), peak_rss_mb=peak_rss_mb())
