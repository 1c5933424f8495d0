"""A network's features: levels together, sizes that come and go, memory that stays bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edge_runtime.features
from edge_runtime.bundle import Bundle
from edge_runtime.errors import ConfigError, InterpreterError
from edge_runtime.features import MOST_INTERPRETERS, UNUSED_CALLS, FeatureExtractor, NetworkFeatures
from edge_runtime.interpreter import Interpreter, dequantise

LEVELS = ("low", "middle", "conv3", "high")


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> Bundle:
    return Bundle.open(bundle_path)


@pytest.fixture(params=["float32", "int8"])
def features(bundle: Bundle, request: pytest.FixtureRequest) -> NetworkFeatures:
    return NetworkFeatures(bundle, request.param)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_levels_come_in_the_order_asked(features: NetworkFeatures) -> None:
    patches = noise(2, 96, 96)
    single = {level: features.extract(patches, (level,))[0] for level in LEVELS}
    for levels in (("high", "low"), ("low", "high"), ("conv3", "middle", "low", "high"), ("low", "low")):
        maps = features.extract(patches, levels)
        assert len(maps) == len(levels)
        for level, found in zip(levels, maps, strict=True):
            assert found.dtype == np.float32
            assert found.flags.c_contiguous
            np.testing.assert_array_equal(found, single[level])


def test_they_are_the_whole_models_answer(features: NetworkFeatures) -> None:
    patches = noise(3, 80, 80)
    model = features.bundle.model(features.dtype)
    interpreter = Interpreter(model, patches.shape)
    raw = interpreter.invoke(features._preprocess(patches))
    for found, r, info in zip(features.extract(patches, LEVELS), raw, interpreter.outputs, strict=True):
        np.testing.assert_array_equal(found, dequantise(r, info))


def test_patches_need_not_be_square(features: NetworkFeatures) -> None:
    patches = noise(2, 72, 130)
    for level, maps in zip(LEVELS, features.extract(patches, LEVELS), strict=True):
        rows, columns = features.cells(level, 72), features.cells(level, 130)
        assert maps.shape == (2, rows, columns, features.level(level).channels)
        assert rows < columns
        if level in ("low", "middle"):  # whose first cells see nothing right of column 36
            left = features.extract(patches[:, :, :72], (level,))[0][:, :2, :1]
            np.testing.assert_allclose(maps[:, :2, :1], left, rtol=1e-5, atol=1e-5 * float(maps.max()))


def test_cells_are_those_of_the_maps_at_any_size(features: NetworkFeatures) -> None:
    for size_px in (33, 40, 41, 63, 64, 65, 71, 72, 73, 80, 88, 89, 95, 96, 97, 104, 105, 129, 208, 240, 250):
        for level, maps in zip(LEVELS, features.extract(noise(1, size_px, 48), LEVELS), strict=True):
            assert maps.shape[1:3] == (features.cells(level, size_px), features.cells(level, 48))
    assert features.cells("high", 5) == 0


def test_maps_are_the_callers_own(features: NetworkFeatures) -> None:
    first = features.extract(noise(1, 64, 64), LEVELS)
    kept = [maps.copy() for maps in first]
    features.extract(noise(1, 64, 64, seed=1), LEVELS)
    for maps, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(maps, before)
        assert maps.flags.writeable


def test_the_least_recently_used_interpreter_goes(
    features: NetworkFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, ...]] = []

    class Counted(Interpreter):
        def __init__(self, model: bytes, shape: tuple[int, int, int, int]) -> None:
            made.append(shape)
            super().__init__(model, shape)

    monkeypatch.setattr(edge_runtime.features, "Interpreter", Counted)
    always = noise(1, 64, 64)
    expected = features.extract(always, ("low",))
    for step in range(3 * MOST_INTERPRETERS):
        features.extract(noise(1, 40 + step, 40), ("low",))
        np.testing.assert_array_equal(features.extract(always, ("low",)), expected)
        assert len(features._interpreters) <= MOST_INTERPRETERS
    assert len(made) == 1 + 3 * MOST_INTERPRETERS  # the one in use was never built again
    features.extract(noise(1, 40, 40), ("low",))
    assert made[-1] == (1, 40, 40, 3)  # the first had gone
    assert len(made) == 2 + 3 * MOST_INTERPRETERS


def test_interpreters_of_earlier_targets_go_when_another_is_built(features: NetworkFeatures) -> None:
    earlier, now = noise(1, 40, 40), noise(1, 44, 40)
    features.extract(earlier, ("low",))
    for _ in range(UNUSED_CALLS + 1):
        features.extract(now, ("low",))
    assert len(features._interpreters) == 2  # none was in the way: the earlier target may come back
    features.extract(noise(1, 48, 40), ("low",))
    assert sorted(shape[1] for _, shape in features._interpreters) == [44, 48]


def test_levels_and_batches_have_their_own_interpreters(features: NetworkFeatures) -> None:
    for n in (1, 2):
        for levels in (("low",), ("low", "high"), ("high", "low")):
            features.extract(noise(n, 48, 48), levels)
    assert len(features._interpreters) == 4  # the order of levels makes no difference
    assert len(features._cuts) == 2


@pytest.mark.parametrize("shape", [(0, 64, 64), (1, 32, 64), (1, 64, 20), (2, 0, 0)])
def test_patches_that_are_no_input_are_one_line(features: NetworkFeatures, shape: tuple[int, ...]) -> None:
    with pytest.raises(InterpreterError, match="at least one of 33 px") as caught:
        features.extract(noise(*shape), ("low", "high"))
    assert "\n" not in str(caught.value)


def test_unknown_levels_are_named(features: NetworkFeatures) -> None:
    with pytest.raises(ConfigError, match="no feature level 'conv9'"):
        features.extract(noise(1, 64, 64), ("low", "conv9"))
    with pytest.raises(ConfigError, match="use one of low, middle, conv3, high"):
        features.cells("conv9", 64)


def test_it_is_a_feature_extractor(features: NetworkFeatures) -> None:
    extractor: FeatureExtractor = features
    assert extractor.level("conv3").stride == 16
