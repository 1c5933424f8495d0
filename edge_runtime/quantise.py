"""int8 weights of a convolution: per output channel and symmetric. Exporter and device must agree on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A dead channel (weights of 1e-15 in some pruned networks) would get a weight scale so small that its
# bias overflows int32 or its multiplier underflows. These bounds cost less than half an output step.
LARGEST_BIAS = 2.0**30
SMALLEST_MULTIPLIER = 2.0**-24


def quantise_convolution(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    input_scale: float,
    output_scale: float,
    input_means: NDArray[np.float64],
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.float32]]:
    """Weights to int8, biases to int32, such that the mean of every output stays what it was.

    The errors of rounding the weights, times the mean input, would shift the outputs: by most of the
    whole quantisation error where the input is RGB 0..255. The bias takes that shift back (Nagel et
    al. 2019, "Data-free quantization", section 4.2).

    Args:
        weight: (out, rows, columns, in).
        bias: (out,).
        input_scale: of the layer's input.
        output_scale: of the layer's output.
        input_means: (in,), over the calibration crops.

    Returns:
        Weights, biases, and the weights' scale per output channel; a bias's scale is its product with
        `input_scale`.
    """
    smallest = np.maximum(np.abs(bias) / LARGEST_BIAS, SMALLEST_MULTIPLIER * output_scale) / input_scale
    scales = np.maximum(np.abs(weight).max((1, 2, 3)) / 127, smallest).astype(np.float32)
    per_channel = scales[:, None, None, None].astype(np.float64)
    quantised = np.clip(np.rint(weight / per_channel), -127, 127)
    shift = ((quantised * per_channel - weight).sum((1, 2)) * input_means).sum(1)
    stored_bias = np.rint((bias - shift) / (per_channel.ravel() * input_scale))
    return quantised.astype(np.int8), stored_bias.astype(np.int32), scales
