"""Elementwise float32 operators that plans run with kernels: the bits of NumPy's exactly rounded functions."""

import numpy as np
import pytest

import pt2q as torch

X = np.array(
    [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.7, -3.7, 1e-40, 1e30, -1e30, 8388609.0, np.inf, -np.inf, np.nan] * 5,
    np.float32,
)
ONE = np.float32(1)

EXACT = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "frac": lambda x: x - np.trunc(x),
    "abs": np.abs,
    "neg": np.negative,
    "square": np.square,
    "reciprocal": lambda x: ONE / x,
    "rsqrt": lambda x: ONE / np.sqrt(x),
}


def kernels(compiled, x):
    return {s["kernel"] for s in compiled.steps(torch.from_numpy(x))}


@pytest.mark.parametrize("name", EXACT)
def test_exactly_rounded(name):
    compiled = torch.compile(lambda x: getattr(torch, name)(x))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(compiled(X), EXACT[name](X))
    assert kernels(compiled, X) == {f"pt2q {name}"}


@pytest.mark.parametrize("low, high", [(-1.0, 2.0), (None, 2.0), (-1.0, None), (3.0, 1.0), (-np.inf, 0.0)])
def test_clamp(low, high):
    want = X if low is None else np.maximum(X, np.float32(low))
    want = want if high is None else np.minimum(want, np.float32(high))
    compiled = torch.compile(lambda x: torch.clamp(x, low, high))
    np.testing.assert_array_equal(compiled(X), want)
    assert kernels(compiled, X) == {"pt2q clamp"}


def test_clamp_by_nan_is_nan():
    assert np.isnan(torch.compile(lambda x: torch.clamp(x, float("nan"), 1.0))(X)).all()


def test_integers_keep_their_type():
    x = np.array([-3, 0, 5], np.int64)
    for name, want in (("abs", [3, 0, 5]), ("neg", [3, 0, -5]), ("square", [9, 0, 25])):
        got = torch.compile(lambda x, name=name: getattr(torch, name)(x))(x)
        assert got.dtype == np.int64 and got.tolist() == want
