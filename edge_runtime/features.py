"""Feature maps of patches: the part of a tracker that knows about networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge_runtime.bundle import Bundle
from edge_runtime.deployment.place import chosen_bundle
from edge_runtime.errors import InterpreterError
from edge_runtime.interpreter import Interpreter
from edge_runtime.manifest import MIN_INPUT_PX, LevelInfo
from edge_runtime.model_cut import cut
from edge_runtime.preprocess import Preprocessor
from edge_runtime.types import FloatArray, Frame

if TYPE_CHECKING:
    from edge_runtime.config import Config

# One target needs one or two (a sample; several scales at once), and building one costs 5 to 15 ms. One of
# the shipped student holds 5 to 8 MB (int8) or 6 to 13 MB (float32). Those of earlier targets, of other
# sizes, go when another is built: so many calls are some frames of as many targets as a core has room for.
MOST_INTERPRETERS = 4
UNUSED_CALLS = 64
PROBE_PX = 64


class FeatureExtractor(Protocol):
    """Anything that turns patches into maps of its levels."""

    def level(self, name: str) -> LevelInfo:
        """The level's stride, channels and geometry. Raises `ConfigError` on an unknown name."""

    def cells(self, name: str, size_px: int) -> int:
        """Rows (columns) of a level's map of patches of so many rows (columns); 0 if there are none."""

    def extract(self, patches: Frame, levels: tuple[str, ...]) -> tuple[FloatArray, ...]:
        """Maps (n, rows, columns, channels), float32, one per level in the order asked.

        Args:
            patches: BGR uint8 (n, rows, columns, 3).
            levels: their names.
        """


class NetworkFeatures:
    """A bundle's network in one dtype; one interpreter per set of levels, batch and input size.

    Args:
        model: the flatbuffer, if it is not the bundle's own: one with other weights.

    Raises:
        BundleError: the bundle has no model of that dtype.
        InterpreterError: no runtime, or it refuses the model.
    """

    def __init__(self, bundle: Bundle, dtype: str, model: bytes | None = None) -> None:
        self.bundle, self.dtype = bundle, dtype
        self._model = model or bundle.model(dtype)
        info = bundle.manifest.models[dtype]
        self._preprocess = Preprocessor(bundle.manifest.preprocessing, bundle.mean_image, info.input)
        self._cuts: dict[tuple[int, ...], bytes] = {}
        # In the order of their last calls, whose numbers stand beside them.
        self._interpreters: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[Interpreter, int]] = {}
        self._calls = 0
        self._offsets_px: dict[str, int] = {}

    def level(self, name: str) -> LevelInfo:
        """The level's stride, channels and geometry. Raises `ConfigError` on an unknown name."""
        return self.bundle.level(name)

    def cells(self, name: str, size_px: int) -> int:
        """Rows (columns) of a level's map of patches of so many rows (columns); 0 if there are none."""
        level = self.level(name)
        if name not in self._offsets_px:
            self._offsets_px[name] = self._offset_px(level)
        return max(0, (size_px - self._offsets_px[name]) // level.stride)

    def extract(self, patches: Frame, levels: tuple[str, ...]) -> tuple[FloatArray, ...]:
        """Maps (n, rows, columns, channels), float32, one per level in the order asked.

        Args:
            patches: BGR uint8 (n, rows, columns, 3).
            levels: their names.

        Raises:
            ConfigError: an unknown level.
            InterpreterError: no patch, or patches under 33 px.
        """
        indices = [self._index(name) for name in levels]
        wanted = tuple(sorted(set(indices)))
        n, rows, columns = patches.shape[:3]
        interpreter = self._interpreter(wanted, (n, rows, columns, 3))
        maps = interpreter.features(lambda view: self._preprocess(patches, view))
        return tuple(maps[wanted.index(index)] for index in indices)

    def _index(self, name: str) -> int:
        return self.bundle.manifest.levels.index(self.bundle.level(name))

    def _interpreter(self, wanted: tuple[int, ...], shape: tuple[int, int, int, int]) -> Interpreter:
        """The one that computes nothing but the `wanted` outputs; those not used for long make room."""
        key = (wanted, shape)
        self._calls += 1
        if key in self._interpreters:
            interpreter, _ = self._interpreters.pop(key)
        else:
            check_patches(shape)
            self._make_room()
            interpreter = Interpreter(self._cut(wanted), shape)
        self._interpreters[key] = interpreter, self._calls
        return interpreter

    def _make_room(self) -> None:
        for key, (_, call) in [*self._interpreters.items()]:
            if self._calls - call > UNUSED_CALLS or len(self._interpreters) >= MOST_INTERPRETERS:
                del self._interpreters[key]

    def _cut(self, wanted: tuple[int, ...]) -> bytes:
        if wanted not in self._cuts:
            self._cuts[wanted] = cut(self._model, wanted)
        return self._cuts[wanted]

    def _offset_px(self, level: LevelInfo) -> int:
        """What (size - offset) // stride gives a level's cells with; the network is asked.

        Every layer rounds down, so all of them together do; searched is the size that adds a cell.
        """
        model = self._cut((self._index(level.name),))

        def rows(size_px: int) -> int:
            return Interpreter(model, (1, size_px, PROBE_PX, 3)).output_shapes[0][1]

        few, many = PROBE_PX, PROBE_PX + level.stride
        cells = rows(few)
        while many - few > 1:
            between = (few + many) // 2
            few, many = (few, between) if rows(between) > cells else (between, many)
        return many - (cells + 1) * level.stride


def check_patches(shape: tuple[int, ...]) -> None:
    """Raise `InterpreterError` on no patch, or patches too small: runtimes differ in what they do then."""
    n, rows, columns = shape[:3]
    if n < 1 or min(rows, columns) < MIN_INPUT_PX:
        raise InterpreterError(
            f"{n} patches of {columns}x{rows} px are no input", fix=f"give at least one of {MIN_INPUT_PX} px"
        )


def configured_features(config: Config) -> NetworkFeatures | None:
    """The network of the bundle that the settings ask for, see `chosen_bundle`; None if they ask for none.

    Raises:
        BundleError: the bundle is missing, damaged, or has no model of that dtype.
        InterpreterError: no TFLite runtime is installed, or it refuses the model.
    """
    path = chosen_bundle(config)
    if path is None:
        return None
    bundle = Bundle.open(path)
    return NetworkFeatures(bundle, chosen_dtype(config, bundle))


def chosen_dtype(config: Config, bundle: Bundle) -> str:
    """`config.model.dtype`; "auto": what `cfvgg-edge bench` found faster here, else int8, else float32."""
    from edge_runtime.bench import remembered  # noqa: PLC0415 (it makes features itself)

    if config.model.dtype != "auto":
        return config.model.dtype
    usual = "float32" if set(bundle.manifest.models) == {"float32"} else "int8"
    return remembered(bundle, config.tracker.preset) or usual
