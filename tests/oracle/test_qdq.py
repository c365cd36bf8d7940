"""quantized_decomposed operators against PyTorch, bit for bit, on random and extreme inputs."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.ao.quantization.fx._decomposed
from bridge import assert_same, name_of, plain, to_pt2q
from hypothesis import given, settings
from hypothesis import strategies as st

from pt2q import _core

OPS = torch.ops.quantized_decomposed
RANGES = {
    torch.uint8: (0, 255),
    torch.int8: (-128, 127),
    torch.uint16: (0, 65535),
    torch.int16: (-32768, 32767),
    torch.int32: (-(2**31), 2**31 - 1),
}
FLOATS = st.one_of(
    st.floats(width=32),
    st.floats(-300, 300, width=32),
    st.integers(-600, 600).map(lambda k: k / 2),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-45, -1e-39, 3e38]),
)
SCALES = st.one_of(st.floats(2.0**-20, 16.0), st.floats(1e-44, 1e30)).filter(
    lambda s: s > 0
)


def both(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """(pt2q's result, PyTorch's result) of one operator call."""
    packet, overload = name.split(".")
    want = getattr(getattr(OPS, packet), overload)(*args, **kwargs)
    got = _core.call(
        f"quantized_decomposed.{name}",
        *[to_pt2q(a) for a in args],
        **{k: to_pt2q(v) for k, v in kwargs.items()},
    )
    return got, want


@st.composite
def tensors(draw: st.DrawFn, elements: st.SearchStrategy[float] = FLOATS) -> torch.Tensor:
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    values = draw(st.lists(elements, min_size=math.prod(shape), max_size=math.prod(shape)))
    return torch.tensor(values, dtype=torch.float32).reshape(shape)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[torch.dtype, int, int]:
    dtype = draw(st.sampled_from(list(RANGES)))
    lo, hi = RANGES[dtype]
    if draw(st.booleans()):
        return dtype, lo, hi
    a, b = sorted((draw(st.integers(lo, hi)), draw(st.integers(lo, hi))))
    return dtype, a, b


@settings(max_examples=300, deadline=None)
@given(tensors(), SCALES, st.integers(-300, 300), ranges(), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
def test_quantize_and_dequantize_per_tensor(x, scale, zp, dtype_range, source) -> None:
    dtype, lo, hi = dtype_range
    got, want = both("quantize_per_tensor.default", x.to(source), scale, zp, lo, hi, dtype)
    assert_same(got, want)
    for out in (None, torch.float16, torch.bfloat16, torch.float64):
        assert_same(*both("dequantize_per_tensor.default", want, scale, zp, lo, hi, dtype, out_dtype=out))


@settings(max_examples=200, deadline=None)
@given(st.data(), tensors(), ranges(), st.sampled_from([torch.float32, torch.float64]))
def test_quantize_and_dequantize_per_channel(data, x, dtype_range, scale_dtype) -> None:
    dtype, lo, hi = dtype_range
    axis = data.draw(st.integers(0, x.dim() - 1))
    n = x.shape[axis]
    scales = torch.tensor(data.draw(st.lists(st.floats(2.0**-12, 8.0), min_size=n, max_size=n)), dtype=scale_dtype)
    zps = torch.tensor(data.draw(st.lists(st.integers(-9, 300), min_size=n, max_size=n)))
    zps = zps.to(data.draw(st.sampled_from([torch.int64, torch.int32, torch.float32])))
    got, want = both("quantize_per_channel.default", x, scales, zps, axis, lo, hi, dtype)
    assert_same(got, want)
    if dtype == torch.uint16:
        return  # PyTorch does not promote uint16
    assert_same(*both("dequantize_per_channel.default", want, scales, zps, axis, lo, hi, dtype))
    assert_same(*both("dequantize_per_channel.default", want, scales, None, axis, lo, hi, dtype))


@settings(max_examples=200, deadline=None)
@given(tensors(), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]), st.sampled_from(list(RANGES)))
def test_choose_qparams(x, source, dtype) -> None:
    lo, hi = RANGES[dtype]
    for name in ("choose_qparams.tensor", "choose_qparams_symmetric.tensor"):
        assert_same(*both(name, x.to(source), lo, hi, 2.0**-23, dtype))


FINITE = st.one_of(st.floats(-1e4, 1e4, width=32), st.just(0.0))


@settings(max_examples=150, deadline=None)
@given(tensors(FINITE), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
def test_per_token(x, source) -> None:
    x = x.to(source)
    for name in ("choose_qparams_per_token.default", "choose_qparams_per_token_asymmetric.default"):
        got, (scales, zps) = both(name, x, torch.int8)
        assert_same(got, (scales, zps))
        if x.dim() == 1:
            continue  # 0-d promotion differs between scalars and tensors; covered below by 2-D rows
        got, want = both("quantize_per_token.default", x, scales, zps, -128, 127, torch.int8)
        assert_same(got, want)
        for out in (torch.float32, torch.bfloat16):
            assert_same(*both("dequantize_per_token.default", want, scales, zps, -128, 127, torch.int8, out))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from([2, 3, 8]), st.integers(0, 2**31))
def test_per_channel_group(rows, groups, size, seed) -> None:
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(rows, groups * size, generator=g)
    scales = torch.rand(rows, groups, generator=g) + 0.01
    zps = torch.randint(-4, 5, (rows, groups), generator=g)
    got, want = both("quantize_per_channel_group.default", w, scales, zps, -8, 7, torch.int8, size)
    assert_same(got, want)
    for z in (zps, zps.to(torch.int32), None):
        args = (want, scales, z, -8, 7, torch.int8, size, torch.float32)
        assert_same(*both("dequantize_per_channel_group.default", *args))


@settings(max_examples=100, deadline=None)
@given(tensors(), st.integers(0, 2**31))
def test_fake_quant_per_channel(x, seed) -> None:
    g = torch.Generator().manual_seed(seed)
    n = x.shape[-1]
    scales, zps = torch.rand(n, generator=g) + 0.01, torch.randint(-5, 9, (n,), generator=g)
    assert_same(*both("fake_quant_per_channel.default", x, scales, zps, x.dim() - 1, -128, 127))


def test_schemas_are_pytorchs() -> None:
    names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("quantized_decomposed::")]
    assert len(names) >= 19
    for name in names:
        packet, _, overload = name.removeprefix("quantized_decomposed::").partition(".")
        schema = str(getattr(getattr(OPS, packet), overload or "default")._schema)
        ours = {s.split("(")[0]: "(" + s.split("(", 1)[1] for s in _core.packet_schemas(f"quantized_decomposed.{packet}")}
        assert ours[f"quantized_decomposed.{packet}.{overload or 'default'}"] == "(" + schema.split("(", 1)[1]


# --- the scalar route ------------------------------------------------------------------------------

REPLAY = """
import pickle, sys
import pt2q
from pt2q import _core
calls = pickle.load(open(sys.argv[1], "rb"))
def value(a):
    return getattr(_core, a[1]) if a[0] == "dtype" else pt2q.from_numpy(a[1]) if a[0] == "array" else a[1]
def bits(r):
    return [bits(i) for i in r] if isinstance(r, (tuple, list)) else (str(r.dtype), r.numpy().tobytes())
def run(name, args):
    return bits(_core.call("quantized_decomposed." + name, *[value(a) for a in args]))
pickle.dump([run(*c) for c in calls], open(sys.argv[2], "wb"))
"""
CALLS: list[Any] = []


def described(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor):
        return "array", argument.numpy()
    return ("dtype", name_of(argument)) if isinstance(argument, torch.dtype) else ("plain", argument)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), SCALES, st.integers(-300, 300), ranges(), st.integers(0, 2**31), st.lists(FLOATS, min_size=1, max_size=40))
def collect_calls(n, scale, zp, dtype_range, seed, values) -> None:
    dtype, lo, hi = dtype_range
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(3, n, generator=g) * 100 * scale
    at = torch.randint(0, 3 * n, (len(values),), generator=g)
    x.view(-1)[at] = torch.tensor(values, dtype=torch.float32)
    scales, zps = torch.full((3,), scale), torch.randint(-5, 9, (3,), generator=g)
    q = torch.randint(lo, hi + 1, (3, n), generator=g).to(dtype)
    for name, *args in (
        ("quantize_per_tensor.default", x, scale, zp, lo, hi, dtype),
        ("dequantize_per_tensor.default", q, scale, zp, lo, hi, dtype),
        ("quantize_per_channel.default", x, scales, zps, 0, lo, hi, dtype),
        ("dequantize_per_channel.default", q, scales, zps, 0, lo, hi, dtype),
        ("choose_qparams.tensor", x, *RANGES[dtype], 2.0**-23, dtype),
        ("fake_quant_per_channel.default", x, scales.clamp(1e-30), zps, 0, -128, 127),
    ):  # fmt: skip
        CALLS.append((name, [described(a) for a in args]))


def test_every_route_has_the_same_bits(tmp_path) -> None:
    """Vector kernels against the scalar ones, which PT2Q_MAX_ISA=portable leaves alone."""
    CALLS.clear()
    collect_calls()
    (tmp_path / "calls").write_bytes(pickle.dumps(CALLS))
    results = []
    for isa in ("amx", "avx2", "portable"):
        out = tmp_path / isa
        subprocess.run([sys.executable, "-c", REPLAY, tmp_path / "calls", out], check=True, env={**os.environ, "PT2Q_MAX_ISA": isa})
        results.append(pickle.loads(out.read_bytes()))
    assert len(results[0]) == len(CALLS) >= 1000
    for call, *answers in zip(CALLS, *results, strict=True):
        assert answers[0] == answers[1] == answers[2], call


X, U = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.uint8)
ONE = torch.ones(1)
BAD = [
    ("quantize_per_tensor.default", X.double(), 1.0, 0, 0, 255, torch.uint8),
    ("quantize_per_tensor.default", X, 1.0, 0, -1, 255, torch.uint8),
    ("quantize_per_tensor.default", X, 1.0, 0, 0, 256, torch.uint8),
    ("quantize_per_tensor.default", X, 1.0, 0, 0, 255, torch.int64),
    ("quantize_per_tensor.tensor", X, torch.ones(2), torch.zeros(1), 0, 255, torch.uint8),
    ("quantize_per_tensor.tensor", X, torch.ones(1), torch.zeros(2), 0, 255, torch.uint8),
    ("dequantize_per_tensor.default", X, 1.0, 0, 0, 255, torch.uint8),
    ("dequantize_per_tensor.default", X.long(), 1.0, 0, 0, 255, torch.int64),
    ("quantize_per_channel.default", X, ONE, ONE, 2, 0, 255, torch.uint8),
    ("quantize_per_channel.default", X, torch.ones(4), torch.ones(4), 1, 0, 255, torch.uint8),
    ("dequantize_per_channel.default", X, ONE, ONE, 0, 0, 255, torch.uint8),
    ("choose_qparams.tensor", X, 1, 255, 1e-5, torch.uint8),
    ("choose_qparams.tensor", X, 0, 0, 1e-5, torch.uint8),
    ("choose_qparams.tensor", X.double(), 0, 255, 1e-5, torch.uint8),
    ("choose_qparams.tensor", X, 0, 255, 1e-5, torch.int64),
    ("choose_qparams.tensor", X[:0], 0, 255, 1e-5, torch.uint8),
    ("quantize_per_token.default", X, torch.ones(3), torch.ones(2), 0, 255, torch.uint8),
    ("quantize_per_channel_group.default", X, ONE, ONE, -8, 7, torch.int8, 1),
    ("quantize_per_channel_group.default", X, torch.ones(2, 2), ONE, -8, 7, torch.int8, 2),
]


@pytest.mark.parametrize("call", BAD, ids=lambda c: f"{c[0]}-{name_of(c[-1])}")
def test_errors_have_pytorchs_type_and_text(call) -> None:
    packet, overload = call[0].split(".")
    with pytest.raises(Exception) as theirs:
        getattr(getattr(OPS, packet), overload)(*call[1:])
    with pytest.raises(type(theirs.value)) as ours:
        _core.call(f"quantized_decomposed.{call[0]}", *[to_pt2q(a) for a in call[1:]])
    assert plain(ours.value) == plain(theirs.value)


FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2]


@settings(max_examples=150, deadline=None)
@given(tensors(), st.floats(2.0**-8, 8.0), st.integers(-8, 8), st.sampled_from(FLOAT8), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
def test_float8(x, scale, zp, dtype, source) -> None:
    """Bounds of float8 are those of torch.finfo as integers."""
    limit = int(torch.finfo(dtype).max)
    args = (scale, zp, -limit, limit, dtype)
    got, want = both("quantize_per_tensor.default", x.to(source), *args)
    assert_same(got, want)
    for out in (None, torch.float16, torch.bfloat16):
        assert_same(*both("dequantize_per_tensor.default", want, *args, out_dtype=out))
    scales, zps = torch.full((x.shape[-1],), scale), torch.zeros(x.shape[-1], dtype=torch.int64)
    channel = (scales, zps, x.dim() - 1, -limit, limit, dtype)
    assert_same(*both("quantize_per_channel.default", x, *channel))


@settings(max_examples=150, deadline=None)
@given(tensors(), SCALES, st.integers(-300, 300), ranges(), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([torch.int64, torch.int32]))
def test_tensor_overloads(x, scale, zp, dtype_range, scale_dtype, zp_dtype) -> None:
    dtype, lo, hi = dtype_range
    s, z = torch.tensor([scale], dtype=scale_dtype), torch.tensor([zp], dtype=zp_dtype)
    if float(s) == 0.0:
        return  # underflowed to zero: PyTorch divides by it, here it is an error
    for name, bounds in (("tensor", (lo, hi)), ("tensor2", (torch.tensor(lo), torch.tensor(hi)))):
        got, want = both(f"quantize_per_tensor.{name}", x, s, z, *bounds, dtype)
        assert_same(got, want)
        for out in (None, torch.bfloat16):
            assert_same(*both(f"dequantize_per_tensor.{name}", want, s, z, *bounds, dtype, out_dtype=out))


@settings(max_examples=100, deadline=None)
@given(tensors(), ranges(), st.sampled_from([torch.float16, torch.bfloat16]), st.integers(0, 2**31))
def test_half_inputs_per_channel(x, dtype_range, source, seed) -> None:
    dtype, lo, hi = dtype_range
    g = torch.Generator().manual_seed(seed)
    n = x.shape[0]
    scales, zps = torch.rand(n, generator=g) + 0.01, torch.randint(0, 9, (n,), generator=g)
    got, want = both("quantize_per_channel.default", x.to(source), scales, zps, 0, lo, hi, dtype)
    assert_same(got, want)
    if dtype != torch.uint16:
        assert_same(*both("dequantize_per_channel.default", want, scales, zps, 0, lo, hi, dtype, out_dtype=source))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 600), ranges(), st.integers(0, 2**31), st.booleans())
def test_vectors_of_every_length(n, dtype_range, seed, transposed) -> None:
    """Long rows reach the vector kernels, with every remainder; the elements are ties and specials."""
    dtype, lo, hi = dtype_range
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-700, 700, (2, n), generator=g) / 2
    specials = torch.tensor([math.nan, math.inf, -math.inf, 1e-45, -1e-39, 3e38, -0.0])
    at = torch.randint(0, n, (7,), generator=g)
    x[0, at] = specials
    x = x.t() if transposed else x
    for scale in (1.0, 0.1, 3.7e-3):
        got, want = both("quantize_per_tensor.default", x, scale, 5, lo, hi, dtype)
        assert_same(got, want)
        assert_same(*both("dequantize_per_tensor.default", want, scale, 5, lo, hi, dtype))
