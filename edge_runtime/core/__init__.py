"""The compiled core of the trackers, in the build that suits this processor.

x86-64 has one module for each level of instructions (v1: SSE2, v3: AVX2, v4: AVX-512), arm64 one. The
environment variable `CFVGG_CORE` asks for another one than the best; tests and benchmarks do. All have the
same functions: `_core_v1.pyi` describes them (`make stubs` writes it).
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from edge_runtime.errors import ConfigError

try:
    from edge_runtime.core import _core_v1
except ImportError as error:
    raise ConfigError(
        f"the compiled core is missing ({error})", fix="pip install cfvgg, or -e . from a clone"
    ) from error

LEVELS: tuple[str, ...] = tuple(_core_v1.supported_levels())
LEVEL = os.environ.get("CFVGG_CORE") or LEVELS[-1]
if LEVEL not in LEVELS:
    raise ConfigError(f"CFVGG_CORE = {LEVEL!r} does not run here", fix=f"use one of {', '.join(LEVELS)}")

if TYPE_CHECKING:
    kernels = _core_v1
else:
    kernels = importlib.import_module(f"edge_runtime.core._core_{LEVEL}")
