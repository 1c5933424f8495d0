"""The two approximations in the authors' programs that golden tracks contain and ours do not.

Their HOG takes square roots and quotients from the processor's approximate instructions (12 bits), their
network raises to the power of the local response normalisation with two cubics. Both are off by some 1e-4;
a sample's size or place that is rounded the other way then changes a track by a pixel at once. With both
put in place of our exact arithmetic, tracks agree to a thousandth of a pixel: what is left is chaos, not
method. Needs a C compiler and an x86 processor (the instructions' results are the processor's own).
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.oracle import hog

# For every pair of doubled gradients: orientation bin, and twice the magnitude.
SOURCE = r"""
#include <math.h>
#include <xmmintrin.h>
void gradients(int largest, unsigned char *bins, float *lengths) {
  const float pi = 3.14159265f, per_bin = 18 / (2 * pi);
  for (int i = 0, y = -largest; y <= largest; y++)
    for (int x = -largest; x <= largest; x++, i++) {
      float gx = x * .5f, gy = y * .5f;
      __m128 inverse = _mm_rsqrt_ps(_mm_set1_ps(gx * gx + gy * gy));
      inverse = _mm_min_ps(inverse, _mm_set1_ps(1e10f));
      float cosine = gx * _mm_cvtss_f32(inverse) * 10000.f;
      if (gy < 0) cosine = -cosine;
      int step = (int)cosine;
      float angle = step >= 10000 ? 0 : step < -10000 ? pi : (float)acos(step / 10000.f);
      if (angle > pi - 1e-6f) angle = pi - 1e-6f;
      if (gy < 0) angle += pi;
      int bin = (int)(angle * per_bin + .5f);
      bins[i] = bin >= 18 ? 0 : bin;
      lengths[i] = 2 * _mm_cvtss_f32(_mm_rcp_ps(inverse));
    }
}
"""


# Of all magnitudes, as AMD's processors approximate them; other makers' differ in the last of the 12 bits.
GOLDEN_ROOTS = "a31d8af33f69c04cab3576f53439413d69fcf3db97fa00b512da2e71519d5776"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put both in place until the test ends; skips where the instructions cannot be had."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("needs a C compiler and an x86 processor")
    source, library = folder / "gradients.c", folder / "gradients.so"
    source.write_text(SOURCE)
    command = [compiler, "-O2", "-ffp-contract=off", "-shared", "-fPIC", source, "-o", library, "-lm"]
    subprocess.run(command, check=True)
    bins = np.zeros(hog.WIDTH**2, np.uint8)
    lengths = np.zeros(hog.WIDTH**2, np.float32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (bins, lengths)]
    ctypes.CDLL(str(library)).gradients(hog.LARGEST, *pointers)
    if hashlib.sha256(lengths.tobytes()).hexdigest() != GOLDEN_ROOTS:
        pytest.skip("this processor's approximate roots are not those that golden tracks were made with")
    exact = hog.strongest_gradients

    def approximate(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        code, _ = exact(patches)
        return code, lengths[code]

    monkeypatch.setattr(hog, "orientation_table", lambda: bins)
    monkeypatch.setattr(hog, "strongest_gradients", approximate)
    monkeypatch.setattr("export.student.CrossChannelNorm.forward", _normalise)


def _normalise(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    energy = torch.nn.functional.conv2d(x * x, self.band, self.get_buffer("shift"))
    return x * _fast_power(energy, -0.75)


def _fast_power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    """2^(exponent log2 x) with cubics that are right at both ends of an octave."""
    mantissa, octave = torch.frexp(x)
    m = 2 * mantissa - 1
    log2 = octave - 1 + ((0.164042561333445 * m - 0.606737602222409) * m + 1.442695040888963) * m
    power = exponent * log2
    whole = torch.floor(power)
    f = power - whole
    return torch.exp2(whole) * (1 + ((0.079441541679836 * f + 0.227411277760219) * f + 0.693147180559945) * f)
