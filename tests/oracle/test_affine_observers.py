"""Affine observers, their operators and fake-quantize modules against torchao, bit for bit."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
import torchao.quantization.pt2e as ao
from bridge import assert_same, name_of, plain, to_pt2q
from hypothesis import given, settings
from hypothesis import strategies as st
from torchao.quantization import granularity as torch_gr
from torchao.quantization.pt2e import _affine_quantization as torch_affine
from torchao.quantization.pt2e import fake_quantize as torch_fq
from torchao.quantization.pt2e import learnable_fake_quantize as torch_learnable
from torchao.quantization.pt2e import observer as torch_ob
from torchao.quantization.quant_primitives import MappingType as TorchMapping
from torchao.quantization.quant_primitives import ZeroPointDomain as TorchDomain

from pt2q import _core
from pt2q.ao.quantization import fake_quantize as our_fq
from pt2q.ao.quantization import observer as our_ob

pytestmark = pytest.mark.filterwarnings("ignore")

FLOATS = [torch.float32, torch.float16, torch.bfloat16]
MAPPINGS = ["SYMMETRIC", "SYMMETRIC_NO_CLIPPING_ERR", "ASYMMETRIC"]
GRANULARITIES = [
    ("PerTensor",),
    ("PerAxis", 0),
    ("PerAxis", 1),
    ("PerAxis", -1),
    ("PerGroup", 4),
    ("PerRow", 0),
    ("PerRow", -1),
    ("PerToken",),
    ("PerBlock", (1, 4)),
    ("PerBlock", (2, 2)),
]


def both(value: Any) -> tuple[Any, Any]:
    """(pt2q's argument, torchao's argument)."""
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return getattr(our_ob, value[0])(*value[1:]), getattr(torch_gr, value[0])(*value[1:])
    if isinstance(value, str) and value in TorchMapping.__members__:
        return our_ob.MappingType[value], TorchMapping[value]
    if isinstance(value, str) and value in TorchDomain.__members__:
        return our_ob.ZeroPointDomain[value], TorchDomain[value]
    return to_pt2q(value), value


def make(name: str, module: Any = torch_affine, **kwargs: Any) -> tuple[Any, Any]:
    pairs = {k: both(v) for k, v in kwargs.items()}
    ours = getattr(our_ob, name)(**{k: v[0] for k, v in pairs.items()})
    return ours, getattr(module, name)(**{k: v[1] for k, v in pairs.items()})


def data(seed: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=g) * 10.0 ** torch.randint(-3, 3, shape, generator=g)).to(dtype)


def same_qparams(ours: Any, theirs: Any) -> None:
    got, want = ours.calculate_qparams(), theirs.calculate_qparams()
    for g, w in zip(got, want, strict=True):
        if w is None:
            assert g is None
        else:
            assert_same(g, w)


@pytest.mark.parametrize(("granularity", "mapping"), itertools.product(GRANULARITIES, MAPPINGS), ids=str)
def test_observers(granularity, mapping) -> None:
    for i, (dtype, target) in enumerate(itertools.product(FLOATS, [torch.int8, torch.uint8, torch.int16])):
        if mapping == "SYMMETRIC_NO_CLIPPING_ERR" and target == torch.uint8:
            continue  # divides by quant_min = 0
        kwargs = {"mapping_type": mapping, "target_dtype": target, "granularity": granularity}
        if i % 2:
            kwargs |= {"quant_min": -8 if target != torch.uint8 else 0, "quant_max": 7, "eps": 2.0**-6}
        if i % 3 == 1:
            kwargs |= {"scale_dtype": torch.float32, "zero_point_dtype": torch.int32}
        for name, extra in (
            ("AffineQuantizedMinMaxObserver", {}),
            ("AffineQuantizedMovingAverageMinMaxObserver", {"averaging_constant": 0.3}),
        ):
            ours, theirs = make(name, **kwargs, **extra)
            for seed in range(3):
                x = data(seed, (6, 8), dtype)
                assert_same(ours(to_pt2q(x)), theirs(x))
            assert_same(ours.min_val, theirs.min_val)
            assert_same(ours.max_val, theirs.max_val)
            assert ours.block_size == tuple(theirs.block_size)
            assert name_of(ours.original_dtype) == name_of(theirs.original_dtype)
            same_qparams(ours, theirs)


@pytest.mark.parametrize(("preserve_zero", "domain"), [(False, "FLOAT"), (False, "NONE"), (True, "NONE"), (True, "FLOAT")])
def test_zero_point_domains(preserve_zero, domain) -> None:
    ours, theirs = make(
        "AffineQuantizedMinMaxObserver", mapping_type="ASYMMETRIC", target_dtype=torch.uint8, granularity=("PerGroup", 4),
        preserve_zero=preserve_zero, zero_point_domain=domain,
    )  # fmt: skip
    x = data(1, (4, 8), torch.float32)
    ours(to_pt2q(x)), theirs(x)
    same_qparams(ours, theirs)


def test_higher_ranks() -> None:
    x = data(0, (2, 3, 4, 8), torch.float32)
    for granularity in [*GRANULARITIES, ("PerAxis", 2), ("PerRow", 1), ("PerBlock", (3, 2, 2))]:
        ours, theirs = make("AffineQuantizedMinMaxObserver", mapping_type="ASYMMETRIC", target_dtype=torch.int8, granularity=granularity)
        ours(to_pt2q(x)), theirs(x)
        assert_same(ours.min_val, theirs.min_val)
        same_qparams(ours, theirs)


VALUES = st.one_of(
    st.floats(-300, 300, width=32),
    st.integers(-600, 600).map(lambda k: k / 2),
    st.sampled_from([0.0, -0.0, 1e-45, -1e-39, 3e38, math.inf, -math.inf, math.nan]),
)


@settings(max_examples=150)
@given(
    st.lists(VALUES, min_size=24, max_size=24),
    st.sampled_from([(4, 6), (1, 6), (4, 1), (2, 3), (1, 1), (4, 2)]),
    st.sampled_from([(torch.int8, -128, 127), (torch.uint8, 0, 255), (torch.int8, -8, 7), (torch.int16, None, None), (torch.int32, None, None)]),
    st.sampled_from(FLOATS),
    st.sampled_from(FLOATS),
    st.sampled_from([torch.int32, torch.int64, torch.float32, torch.int8]),
    st.integers(0, 1000),
)  # fmt: skip
def test_operators(values, block, target, source, scale_dtype, zp_dtype, seed) -> None:
    dtype, lo, hi = target
    if dtype == torch.int32 and source == scale_dtype == torch.float16 and zp_dtype != torch.float32:
        return  # PyTorch cannot clamp float16 to that range
    x = torch.tensor(values).reshape(4, 6).to(source)
    count = (4 // block[0]) * (6 // block[1])
    g = torch.Generator().manual_seed(seed)
    scale = (torch.rand(count, generator=g) + 0.01).to(scale_dtype)
    zp = torch.randint(0, 7, (count,), generator=g).to(zp_dtype)
    q_args = (x, block, scale, zp, dtype, lo, hi)
    want = torch.ops.torchao.quantize_affine(*q_args)
    got = _core.call("torchao.quantize_affine.default", *[to_pt2q(a) for a in q_args])
    assert_same(got, want)
    for out in FLOATS:
        args = (want, block, scale, zp, dtype, lo, hi)
        back = torch.ops.torchao.dequantize_affine(*args, output_dtype=out)
        assert_same(_core.call("torchao.dequantize_affine.default", *[to_pt2q(a) for a in args], output_dtype=to_pt2q(out)), back)


@pytest.mark.parametrize(("mapping", "keepdim"), itertools.product(MAPPINGS, [False, True]))
def test_choose_qparams_affine(mapping, keepdim) -> None:
    for seed, (source, block) in enumerate(itertools.product(FLOATS, [(4, 6), (1, 6), (4, 1), (2, 3)])):
        x = data(seed, (4, 6), source)
        args = (x, mapping, block, torch.int8, -8 if seed % 2 else None, 7 if seed % 2 else None, None, None, None, keepdim)
        if mapping != "ASYMMETRIC":
            args = (*args[:8], torch.int32, keepdim)
        want = torch.ops.torchao.choose_qparams_affine(*args)
        assert_same(_core.call("torchao.choose_qparams_affine.default", *[to_pt2q(a) for a in args]), want)


def test_schemas_are_torchaos() -> None:
    for name in ("choose_qparams_affine", "quantize_affine", "dequantize_affine"):
        schema = str(getattr(torch.ops.torchao, name).default._schema).split("(", 1)[1]
        (ours,) = _core.packet_schemas(f"torchao.{name}")
        assert ours.split("(", 1)[1].replace("output_dtype=float32", "output_dtype=6") == schema


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize("mapping", ["SYMMETRIC", "ASYMMETRIC"])
def test_affine_fake_quantize(granularity, mapping) -> None:
    for domain in ("INT", "FLOAT") if mapping == "ASYMMETRIC" else ("INT",):
        kwargs = {"mapping_type": mapping, "target_dtype": torch.int8, "granularity": granularity, "quant_min": -8, "quant_max": 7}
        kwargs |= {"zero_point_domain": domain, "preserve_zero": domain == "INT"}
        pairs = {k: both(v) for k, v in kwargs.items()}
        ours = our_fq.AffineFakeQuantize(observer=our_ob.AffineQuantizedMinMaxObserver, **{k: v[0] for k, v in pairs.items()})
        theirs = torch_fq.AffineFakeQuantize(observer=torch_affine.AffineQuantizedMinMaxObserver, **{k: v[1] for k, v in pairs.items()})
        for seed in range(2):
            x = data(seed, (6, 8), torch.float32)
            assert_same(ours(to_pt2q(x)), theirs(x))
        for key, want in theirs.state_dict().items():
            assert_same(ours.state_dict()[key], want)
        for module in (ours, theirs):
            module.disable_observer()
        x = data(7, (6, 8), torch.float32)
        assert_same(ours(to_pt2q(x)), theirs(x))
        fresh = torch_fq.AffineFakeQuantize(observer=torch_affine.AffineQuantizedMinMaxObserver, **{k: v[1] for k, v in pairs.items()})
        assert set(fresh.state_dict()) <= set(ours.state_dict())


@pytest.mark.parametrize("name", ["default_affine_fake_quant", "default_groupwise_fake_quant", "default_affine_per_axis_fake_quant"])
def test_named_affine_factories(name) -> None:
    ours, theirs = getattr(our_fq, name)(), getattr(torch_fq, name)()
    x = data(0, (4, 256), torch.float32)
    assert_same(ours(to_pt2q(x)), theirs(x))
    assert repr(ours.granularity) == repr(theirs.granularity)
    assert ours.mapping_type.name == theirs.mapping_type.name
    recipe = getattr(our_fq, name)
    assert recipe == getattr(our_fq, name) and recipe != our_fq.default_fake_quant


LEARNABLE = [
    ("MovingAverageMinMaxObserver", {"dtype": torch.quint8}, 0, 255),
    ("MinMaxObserver", {"dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric}, -128, 127),
    ("MovingAveragePerChannelMinMaxObserver", {"dtype": torch.qint8, "qscheme": torch.per_channel_symmetric, "ch_axis": 0}, -127, 127),
    ("PerChannelMinMaxObserver", {"dtype": torch.quint8, "qscheme": torch.per_channel_affine, "ch_axis": 1}, 0, 255),
]


@pytest.mark.parametrize(("observer", "kwargs", "lo", "hi"), LEARNABLE, ids=[c[0] for c in LEARNABLE])
def test_learnable_fake_quantize(observer, kwargs, lo, hi) -> None:
    ours = our_fq.LearnableFakeQuantize(getattr(our_ob, observer), lo, hi, True, **{k: to_pt2q(v) for k, v in kwargs.items()})
    theirs = torch_learnable.LearnableFakeQuantize(getattr(torch_ob, observer), lo, hi, True, **kwargs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for seed in range(3):
        x = data(seed, (4, 6), torch.float32)
        assert_same(ours(to_pt2q(x)), theirs(x))
    # A learned state: what training leaves behind.
    for module, tensor in ((ours, to_pt2q), (theirs, lambda t: t)):
        module.enable_range_learning()
        state = dict(module.state_dict())
        g = torch.Generator().manual_seed(1)
        shift = torch.rand(theirs.zero_point.shape, generator=g) * 3
        if module is theirs:
            with torch.no_grad():
                theirs.scale.mul_(0.75)
                theirs.zero_point.add_(shift)
        else:
            state["scale"] = tensor(theirs.scale.detach() * 0.75)
            state["zero_point"] = tensor(theirs.zero_point.detach() + shift)
            ours.load_state_dict(state)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = data(9, (4, 6), torch.float32)
    assert_same(ours(to_pt2q(x)), theirs(x))
    same_qparams(ours, theirs)
    for key, want in theirs.state_dict().items():
        assert_same(ours.state_dict()[key], want)
    assert ours.observer_enabled.item() == 0 and ours.learning_enabled.item() == 1
    ours.enable_observer()
    assert ours.learning_enabled.item() == 0


BAD = [
    {"granularity": ("PerGroup", 5)},
    {"granularity": ("PerBlock", (4, 3))},
    {"granularity": None},
    {"quant_min": -129},
    {"quant_max": 300},
    {"target_dtype": torch.int64},
    {"preserve_zero": False, "mapping_type": "SYMMETRIC"},
    {"preserve_zero": False},
    {"zero_point_domain": "FLOAT", "mapping_type": "SYMMETRIC"},
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_errors_have_torchaos_type_and_text(bad) -> None:
    kwargs = {"mapping_type": "ASYMMETRIC", "target_dtype": torch.int8, "granularity": ("PerTensor",)} | bad
    pairs = {k: both(v) for k, v in kwargs.items()}
    x = data(0, (6, 8), torch.float32)
    errors = []
    for i, cls in enumerate((our_ob.AffineQuantizedMinMaxObserver, torch_affine.AffineQuantizedMinMaxObserver)):
        with pytest.raises(Exception) as error:
            observer = cls(**{k: v[i] for k, v in pairs.items()})
            observer(to_pt2q(x) if i == 0 else x)
            observer.calculate_qparams()
        errors.append(error.value)
    assert isinstance(errors[0], type(errors[1]))
    assert plain(errors[0]).replace(".0", "") == plain(errors[1]).replace(".0", "")


def test_blocks_may_not_change() -> None:
    ours, theirs = make("AffineQuantizedMinMaxObserver", mapping_type="ASYMMETRIC", target_dtype=torch.int8, granularity=("PerToken",))
    with pytest.raises(AssertionError, match="run the observer before"):
        ours.calculate_qparams()
    for cls, convert in ((ours, to_pt2q), (theirs, lambda t: t)):
        cls(convert(torch.ones(4, 6)))
        with pytest.raises(AssertionError, match="shape mismatch"):
            cls(convert(torch.ones(5, 6)))


def test_copies_and_state() -> None:
    ours, theirs = make("AffineQuantizedMinMaxObserver", mapping_type="ASYMMETRIC", target_dtype=torch.int8, granularity=("PerGroup", 4))
    assert not hasattr(ours, "min_val") and not ours.state_dict()
    ours.load_state_dict({k: to_pt2q(v) for k, v in theirs.state_dict().items()})  # torchao's is empty
    x = data(0, (6, 8), torch.float32)
    ours(to_pt2q(x))
    twin = copy.deepcopy(ours)
    ours.reset_min_max_vals()
    assert not hasattr(ours, "min_val")
    ours.load_state_dict(twin.state_dict())
    assert_same(ours.calculate_qparams()[0], to_torch_qparams(twin))


def to_torch_qparams(observer: Any) -> torch.Tensor:
    return torch.from_dlpack(observer.calculate_qparams()[0]).clone()


def test_all_of_torchaos_names_exist() -> None:
    """Every observer and fake-quantize name of torchao's pt2e package is here."""
    skip = {"PartialWrapper"}
    missing = []
    for name in ao.__all__:
        value = getattr(ao, name)
        module = getattr(value, "__module__", "") or ""
        if name in skip or not (module.endswith((".observer", ".fake_quantize", ".learnable_fake_quantize")) or name.startswith("default_")):
            continue
        if not hasattr(our_ob, name) and not hasattr(our_fq, name):
            missing.append(name)
    assert missing == []
