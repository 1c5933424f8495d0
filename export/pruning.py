"""A student's first weights: random filters of its teacher (method, section 1, Initialisation)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from export.student import CfVgg, channels_for_ratio


def random_pruning(teacher: CfVgg, ratio: int, generator: np.random.Generator, rescale: bool = True) -> CfVgg:
    """Keep a random 1/sqrt(ratio) of every layer's filters, and in the next layer the matching inputs.

    Args:
        teacher: VGG-M; of a network of other widths, that share of its own filters is kept.
        generator: decides which.
        rescale: multiply weights by sqrt(inputs before / inputs kept). Sums over fewer inputs of either
            sign shrink with the root of their number: without it, conv5 of `CF_VGGM.mat` pruned by 16 has
            0.08 of its root mean square before, with it 0.5, with the ratio itself 8. The method does not
            say; biases and LRN, which are kept as they are, need activations of their teacher's size.

    Returns:
        A network to be trained, in evaluation mode, with filters in the teacher's order and its LRN
        parameters; it shares no memory with the teacher. At ratio 1 it is the teacher's copy.

    Raises:
        ValueError: `ratio` is not one of `export.student.COMPRESSION_RATIOS`.
    """
    channels = channels_for_ratio(ratio, teacher.channels)
    pruned = CfVgg(channels, teacher.lrn).eval()
    inputs = torch.arange(3)
    for layer, count in zip(("conv1", "conv2", "conv3", "conv4", "conv5"), channels, strict=True):
        old, new = teacher.get_submodule(layer), pruned.get_submodule(layer)
        assert isinstance(old, nn.Conv2d)
        assert isinstance(new, nn.Conv2d)
        kept = torch.from_numpy(np.sort(generator.choice(old.out_channels, count, replace=False)))
        scale = math.sqrt(old.in_channels / len(inputs)) if rescale else 1.0
        state = old.state_dict()
        new.load_state_dict({"weight": state["weight"][kept][:, inputs] * scale, "bias": state["bias"][kept]})
        inputs = kept
    return pruned
