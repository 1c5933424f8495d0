"""Cut models answer as the whole one does, and damaged ones are refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.bundle import Bundle
from edge_runtime.errors import BundleError
from edge_runtime.interpreter import Interpreter
from edge_runtime.model_cut import cut

SUBSETS = [(0,), (1,), (2,), (3,), (0, 3), (3, 0), (2, 1), (0, 1, 2), (0, 1, 2, 3), (3, 2, 1, 0)]


@pytest.fixture(scope="module")
def models(bundle_path: Path) -> dict[str, bytes]:
    return Bundle.open(bundle_path).models


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("shape", [(1, 33, 33, 3), (1, 129, 129, 3), (3, 80, 97, 3), (1, 208, 208, 3)])
def test_every_cut_is_bit_equal_to_the_whole(
    models: dict[str, bytes], dtype: str, shape: tuple[int, int, int, int]
) -> None:
    whole = Interpreter(models[dtype], shape)
    x = np.random.default_rng(0).integers(-128, 128, shape).astype(whole.input.dtype)
    expected = whole.invoke(x)
    for outputs in SUBSETS:
        part = Interpreter(cut(models[dtype], outputs), shape)
        assert part.input == whole.input
        assert part.outputs == tuple(whole.outputs[i] for i in outputs)
        assert part.delegated == whole.delegated
        for found, index in zip(part.invoke(x), outputs, strict=True):
            assert found.dtype == expected[index].dtype
            np.testing.assert_array_equal(found, expected[index])


def test_a_cut_model_can_be_cut_again(models: dict[str, bytes]) -> None:
    model = models["int8"]
    x = np.random.default_rng(0).integers(-128, 128, (1, 65, 65, 3)).astype(np.int8)
    (again,) = Interpreter(cut(cut(model, (3, 1, 0)), (1,)), x.shape).invoke(x)
    np.testing.assert_array_equal(again, Interpreter(model, x.shape).invoke(x)[1])


def test_nothing_but_two_vectors_changes(models: dict[str, bytes]) -> None:
    model = models["float32"]
    assert cut(model, (0, 1, 2, 3)) == model
    part = cut(model, (0,))
    assert len(part) == len(model)
    assert sum(a != b for a, b in zip(part, model, strict=True)) < 100


@pytest.mark.parametrize("outputs", [(), (4,), (-1,), (0, 0), (1, 7)])
def test_outputs_that_are_not_there_are_refused(models: dict[str, bytes], outputs: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match="outputs 0 to 3"):
        cut(models["int8"], outputs)


@pytest.mark.parametrize(
    "model", [b"", b"TFL3", b"\0" * 100, b"\xff" * 100, b"\x10\0\0\0TFL3" + b"\xff" * 40]
)
def test_what_is_no_model_is_refused(model: bytes) -> None:
    with pytest.raises(BundleError, match="damaged") as caught:
        cut(model, (0,))
    assert "\n" not in str(caught.value)


@given(
    share=st.floats(0, 0.999), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=8)
)
@settings(max_examples=150, deadline=None)
def test_damage_is_refused_or_harmless(
    models: dict[str, bytes], share: float, flips: list[tuple[float, int]]
) -> None:
    """Any other exception, or a change of length, would fail here."""
    spoiled = bytearray(models["int8"])
    for place, bits in flips:
        spoiled[int(place * len(spoiled))] ^= bits
    for model in (bytes(spoiled), bytes(spoiled[: int(share * len(spoiled))])):
        with contextlib.suppress(BundleError):
            assert len(cut(model, (1,))) == len(model)


def test_damage_where_it_matters_is_refused_or_harmless(models: dict[str, bytes]) -> None:
    """Every four bytes of the graph's description, one by one; the weights come before and after it."""
    model, changed = models["int8"], cut(models["int8"], (0,))
    places = [i for i, (a, b) in enumerate(zip(model, changed, strict=True)) if a != b]
    refused = 0
    for at in range(max(0, places[0] - 200), min(len(model) - 4, places[-1] + 200), 4):
        for value in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0"):
            try:
                cut(model[:at] + value + model[at + 4 :], (0, 2))
            except BundleError as error:
                assert "\n" not in str(error)
                refused += 1
    assert refused > 10
