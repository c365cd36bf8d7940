"""Observers and fake-quantize modules against PyTorch, bit for bit, over sequences of batches."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import pytest
import torch
from bridge import SCHEMES, assert_same, name_of, plain, to_pt2q
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.ao.quantization import fake_quantize as torch_fq
from torch.ao.quantization import observer as torch_ob
from torch.ao.quantization import qconfig as torch_qc

from pt2q.ao.quantization import fake_quantize as our_fq
from pt2q.ao.quantization import observer as our_ob

pytestmark = pytest.mark.filterwarnings("ignore")

DTYPES = [torch.quint8, torch.qint8, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.qint32]


def classes(name: str) -> tuple[Any, Any]:
    """(pt2q's class, PyTorch's class)."""
    for ours, theirs in ((our_ob, torch_ob), (our_fq, torch_fq)):
        if hasattr(theirs, name):
            return getattr(ours, name), getattr(theirs, name)
    raise AssertionError(name)


def make(name: str, **kwargs: Any) -> tuple[Any, Any]:
    ours, theirs = classes(name)
    inner = {"observer": classes(kwargs["observer"])[0]} if "observer" in kwargs else {}
    inner_t = {"observer": classes(kwargs["observer"])[1]} if "observer" in kwargs else {}
    return (
        ours(**{**{k: to_pt2q(v) for k, v in kwargs.items()}, **inner}),
        theirs(**{**kwargs, **inner_t}),
    )


def run(ours: Any, theirs: Any, batches: list[torch.Tensor]) -> None:
    """Feeds both; outputs, states, scales and zero points must be equal."""
    for x in batches:
        assert_same(ours(to_pt2q(x)), theirs(x))
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    for key, want in theirs.state_dict().items():
        assert_same(state[key], want)
    assert_same(ours.calculate_qparams(), theirs.calculate_qparams())
    assert (ours.quant_min, ours.quant_max) == (theirs.quant_min, theirs.quant_max)
    assert printed(ours) == printed(theirs)


def printed(module: Any) -> str:
    """repr in PyTorch's words; the sign of a zero minimum depends on the order of the data."""
    return re.sub(r"-(0\.0?(?![0-9]))", r"\1", repr(module).replace("pt2q.", "torch."))


def values(limit: float) -> st.SearchStrategy[float]:
    return st.one_of(
        st.floats(-limit, limit, width=32),
        st.floats(-4, 4, width=32),
        st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-12, 2.0**-24]),
    )


@st.composite
def batches(draw: st.DrawFn, limit: float = 2.0**99) -> list[torch.Tensor]:
    """One to four batches: random, constant, tiny, or empty."""
    out = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
        n = math.prod(shape)
        if draw(st.booleans()):
            out.append(torch.full(shape, draw(values(limit)), dtype=torch.float32))
        else:
            data = draw(st.lists(values(limit), min_size=n, max_size=n))
            out.append(torch.tensor(data, dtype=torch.float32).reshape(shape))
    return out


@st.composite
def settings_of(draw: st.DrawFn, per_channel: bool, dtypes: list[torch.dtype] = DTYPES) -> dict[str, Any]:
    dtype = draw(st.sampled_from(dtypes))
    scheme = draw(st.sampled_from(SCHEMES[2:] if per_channel else SCHEMES[:2]))
    out: dict[str, Any] = {"dtype": dtype, "qscheme": getattr(torch, scheme)}
    if draw(st.booleans()):
        out["quant_min"], out["quant_max"] = draw(st.sampled_from([(0, 127), (-128, 127), (-127, 127), (-8, 7), (0, 1)]))
    if draw(st.booleans()):
        out["eps"] = draw(st.sampled_from([2.0**-12, 1e-10, 0.0]))
    if draw(st.booleans()) and not (dtype == torch.quint8 and "symmetric" in scheme):
        out["reduce_range"] = True
    return out


@settings(max_examples=200, deadline=None)
@given(settings_of(per_channel=False), batches(), st.sampled_from([0.01, 0.3, 1]))
def test_minmax_and_moving_average(kwargs, data, constant) -> None:
    run(*make("MinMaxObserver", **kwargs), data)
    run(*make("MovingAverageMinMaxObserver", averaging_constant=constant, **kwargs), data)


@settings(max_examples=100, deadline=None)
@given(st.data(), settings_of(per_channel=True), st.integers(0, 2**31))
def test_per_channel(data, kwargs, seed) -> None:
    g = torch.Generator().manual_seed(seed)
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))  # PyTorch refuses 1-D
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    spread = 10.0 ** torch.randint(-8, 8, shape, generator=g)
    tensors = [torch.randn(shape, generator=g) * spread for _ in range(data.draw(st.integers(0, 3)))]
    run(*make("PerChannelMinMaxObserver", ch_axis=axis, **kwargs), tensors)
    run(*make("MovingAveragePerChannelMinMaxObserver", ch_axis=axis, **kwargs), tensors)


HISTOGRAM_DTYPES = [torch.quint8, torch.qint8, torch.uint8, torch.int8, torch.int16]


@settings(max_examples=150, deadline=None)
@given(settings_of(per_channel=False, dtypes=HISTOGRAM_DTYPES), batches(limit=2.0**20), st.sampled_from([8, 64, 100]))
def test_histogram_of_small_batches(kwargs, data, bins) -> None:
    run(*make("HistogramObserver", bins=bins, **kwargs), data)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["normal", "relu", "exp", "uniform", "heavy"]), st.integers(1, 5))
def test_histogram_of_distributions(seed, kind, count) -> None:
    g = torch.Generator().manual_seed(seed)
    data = []
    for k in range(count):
        x = torch.randn(500 + 31 * k, generator=g)
        x = {
            "normal": x * (1 + k) + 0.2 * k,
            "relu": x.relu() * (1 + k),
            "exp": x.exp(),
            "uniform": torch.rand(500, generator=g) * 6 - k,
            "heavy": x / torch.randn(500 + 31 * k, generator=g),
        }[kind]
        data.append(x)
    run(*make("HistogramObserver"), data)
    run(*make("HistogramObserver", dtype=torch.int8, qscheme=torch.per_tensor_symmetric, eps=2.0**-12), data)


@pytest.mark.parametrize("data", [[math.inf, 1.0], [-math.inf, math.inf], [math.inf], [1.0, 1.0, -math.inf]])
def test_infinite_inputs(data) -> None:
    tail = torch.linspace(-1, 2, 50)
    run(*make("HistogramObserver", bins=64), [torch.tensor(data), tail])
    run(*make("MinMaxObserver"), [torch.tensor(data), tail])
    run(*make("MovingAverageMinMaxObserver"), [tail])


@settings(max_examples=150, deadline=None)
@given(st.data(), batches(limit=2.0**13), st.sampled_from(["FakeQuantize", "FusedMovingAvgObsFakeQuantize"]))
def test_fake_quantize_per_tensor(data, tensors, name) -> None:
    tensors = [x for x in tensors if x.numel() > 0]
    scheme = getattr(torch, data.draw(st.sampled_from(SCHEMES[:2])))
    lo, hi, dtype = data.draw(st.sampled_from([(0, 255, torch.quint8), (-128, 127, torch.qint8), (-127, 127, torch.int8), (0, 15, torch.uint8)]))
    # Not 1: v + 1 * (x - v) rounds, which can put the minimum above the maximum; both refuse that.
    constant = data.draw(st.sampled_from([0.01, 0.5]))
    ours, theirs = make(name, quant_min=lo, quant_max=hi, dtype=dtype, qscheme=scheme, averaging_constant=constant)
    run(ours, theirs, tensors)
    for switch in ("disable_observer", "disable_fake_quant", "enable_observer", "enable_fake_quant"):
        getattr(our_fq, switch)(ours)
        getattr(torch_fq, switch)(theirs)
        run(ours, theirs, tensors)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**31), st.sampled_from(["FakeQuantize", "FusedMovingAvgObsFakeQuantize"]))
def test_fake_quantize_per_channel(data, seed, name) -> None:
    g = torch.Generator().manual_seed(seed)
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    axis = 0 if name.startswith("Fused") else data.draw(st.integers(0, len(shape) - 1))
    scheme = getattr(torch, data.draw(st.sampled_from(SCHEMES[2:4])))
    tensors = [torch.randn(shape, generator=g) * 3 for _ in range(data.draw(st.integers(1, 3)))]
    kwargs = {"observer": "MovingAveragePerChannelMinMaxObserver", "ch_axis": axis, "qscheme": scheme}
    run(*make(name, quant_min=-128, quant_max=127, dtype=torch.qint8, **kwargs), tensors)


BAD = [
    ("MinMaxObserver", {"dtype": torch.float32}),
    ("MinMaxObserver", {"qscheme": torch.per_channel_affine}),
    ("MinMaxObserver", {"quant_min": 1, "quant_max": 5}),
    ("MinMaxObserver", {"quant_min": 0, "quant_max": 0}),
    ("MinMaxObserver", {"dtype": torch.qint8, "quant_min": 0, "quant_max": 300}),
    ("MinMaxObserver", {"qscheme": torch.per_tensor_symmetric, "reduce_range": True}),
    ("PerChannelMinMaxObserver", {"qscheme": torch.per_tensor_affine}),
    ("PerChannelMinMaxObserver", {"is_dynamic": True}),
    ("MovingAverageMinMaxObserver", {"is_dynamic": True}),
    ("MovingAveragePerChannelMinMaxObserver", {"is_dynamic": True}),
    ("HistogramObserver", {"is_dynamic": True}),
    ("HistogramObserver", {"qscheme": torch.per_channel_symmetric}),
    ("FixedQParamsObserver", {"scale": 1.0, "zero_point": 0, "is_dynamic": True}),
    ("FakeQuantize", {"quant_min": 0, "quant_max": 300}),
    ("FakeQuantize", {"quant_min": 5, "quant_max": 3}),
    ("FakeQuantize", {"quant_min": -3, "quant_max": 3}),
    ("FusedMovingAvgObsFakeQuantize", {"observer": "MinMaxObserver"}),
    ("FixedQParamsFakeQuantize", {"observer": "MinMaxObserver"}),
]


@pytest.mark.parametrize(("name", "kwargs"), BAD, ids=[f"{n}-{i}" for i, (n, _) in enumerate(BAD)])
def test_errors_have_pytorchs_type_and_text(name, kwargs) -> None:
    ours, theirs = classes(name)
    args = {k: classes(v)[1] if k == "observer" else v for k, v in kwargs.items()}
    with pytest.raises(Exception) as want:
        theirs(**args)
    args = {k: classes(v)[0] if k == "observer" else to_pt2q(v) for k, v in kwargs.items()}
    with pytest.raises(type(want.value)) as got:
        ours(**args)
    # pt2q names the class that refuses where PyTorch inherits the text of the base class.
    assert plain(got.value).split("but got")[0] == plain(want.value).split("but got")[0].strip().removesuffix(".") + (
        "." if plain(want.value).endswith(".") or "but got" in plain(want.value) else ""
    )


FACTORIES = [
    *[n for n in torch_ob.__all__ if n.startswith("default_") or "127" in n],
    *[n for n in torch_fq.__all__ if n.startswith("default_") or "127" in n],
]


@pytest.mark.parametrize("name", FACTORIES)
def test_named_factories(name) -> None:
    recipe, want = classes(name)
    ours, theirs = recipe(), want()
    assert type(ours).__name__ == type(theirs).__name__
    assert name_of(ours.dtype) == name_of(theirs.dtype)
    for key in ("qscheme", "quant_min", "quant_max", "is_dynamic", "ch_axis", "averaging_constant"):
        if hasattr(theirs, key):
            a, b = getattr(ours, key), getattr(theirs, key)
            assert name_of(a) == name_of(b), key
    assert printed(ours) == printed(theirs)
    if "Recording" in repr(theirs) or "Placeholder" in repr(theirs) or "Reuse" in repr(theirs):
        return
    channels = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.25, 1.0]])
    run(ours, theirs, [channels])


def test_qconfigs() -> None:
    our_qc = pytest.importorskip("pt2q.ao.quantization.qconfig")
    names = [n for n in torch_qc.__all__ if isinstance(getattr(torch_qc, n), torch_qc.QConfig)]
    pairs = [(getattr(our_qc, n), getattr(torch_qc, n)) for n in names]
    for backend in ("x86", "fbgemm", "qnnpack", "onednn"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pairs.append((our_qc.get_default_qconfig(backend), torch_qc.get_default_qconfig(backend)))
        for version in (0, 1):
            pairs.append((our_qc.get_default_qat_qconfig(backend, version), torch_qc.get_default_qat_qconfig(backend, version)))
    for ours, theirs in pairs:
        for part in ("activation", "weight"):
            a, b = getattr(ours, part)(), getattr(theirs, part)()
            assert printed(a) == printed(b)


def test_state_travels_both_ways() -> None:
    x = torch.randn(4, 5)
    for name in ("MinMaxObserver", "PerChannelMinMaxObserver", "HistogramObserver", "FakeQuantize"):
        ours, theirs = make(name)
        theirs(x)
        ours.load_state_dict({k: to_pt2q(v) for k, v in theirs.state_dict().items()})
        assert_same(ours.calculate_qparams(), theirs.calculate_qparams())
