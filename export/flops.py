"""What a network costs, by the method's equation 12."""

from __future__ import annotations

from dataclasses import dataclass

from export.student import COMPRESSION_RATIOS, channels_for_ratio, map_sizes

KERNELS = (7, 5, 3, 3, 3)
TEACHER_RATIO = 1


@dataclass(frozen=True)
class Cost:
    """One network on one input.

    Attributes:
        parameters: weights and biases.
        flops: by equation 12.
        macs: multiplications with a weight, biases not counted.
    """

    channels: tuple[int, ...]
    parameters: int
    flops: int
    macs: int


def cost(channels: tuple[int, ...], size_px: int) -> Cost:
    """Cost of CF-VGG's five convolutions on a square RGB input.

    FLOPs = 2 H W (C_in K^2 + 1) C_out per convolution (12). The equation does not say whose height and
    width H and W are: here the OUTPUT map's, which makes it the multiplications and additions that a
    convolution takes, its bias included. ReLU, normalisation and pooling are not in the equation.

    Args:
        channels: filters of conv1..conv5.
        size_px: rows and columns of the input.
    """
    parameters = flops = macs = 0
    inputs = 3
    for kernel, outputs, cells in zip(KERNELS, channels, map_sizes(size_px), strict=True):
        parameters += (inputs * kernel**2 + 1) * outputs
        flops += 2 * cells**2 * (inputs * kernel**2 + 1) * outputs
        macs += cells**2 * inputs * kernel**2 * outputs
        inputs = outputs
    return Cost(channels, parameters, flops, macs)


def flops_table(size_px: int) -> str:
    """Students of every compression ratio, 1 being the teacher VGG-M's size, as a Markdown table."""
    costs = {ratio: cost(channels_for_ratio(ratio), size_px) for ratio in COMPRESSION_RATIOS}
    teacher = costs[TEACHER_RATIO]
    lines = [
        f"Five convolutions on {size_px}x{size_px} px RGB; FLOPs by equation 12, H and W of the output map.",
        "",
        "| ratio       | channels            | parameters | GFLOPs |   MMAC | share of the teacher |",
        "|-------------|---------------------|-----------:|-------:|-------:|---------------------:|",
    ]
    for ratio, c in costs.items():
        name = "1 (teacher)" if ratio == TEACHER_RATIO else str(ratio)
        channels = "-".join(str(n) for n in c.channels)
        lines.append(
            f"| {name:11} | {channels:19} | {c.parameters:10,} | {c.flops / 1e9:6.4f} | {c.macs / 1e6:6.1f} "
            f"| {c.flops / teacher.flops:20.2%} |"
        )
    return "\n".join(lines)
