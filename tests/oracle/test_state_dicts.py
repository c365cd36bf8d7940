"""Observer states travel between torchao and pt2q, both ways, for every class."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from bridge import assert_same, to_pt2q, to_torch
from torchao.quantization.pt2e import fake_quantize as torch_fq
from torchao.quantization.pt2e import learnable_fake_quantize as torch_learnable
from torchao.quantization.pt2e import observer as torch_ob

from pt2q.ao.quantization import fake_quantize as our_fq
from pt2q.ao.quantization import observer as our_ob

pytestmark = pytest.mark.filterwarnings("ignore")

CASES: list[tuple[str, dict[str, Any]]] = [
    ("MinMaxObserver", {"eps": 2.0**-12}),
    ("MovingAverageMinMaxObserver", {"averaging_constant": 0.3}),
    ("PerChannelMinMaxObserver", {"ch_axis": 1}),
    ("MovingAveragePerChannelMinMaxObserver", {"ch_axis": 0}),
    ("HistogramObserver", {"bins": 64}),
    ("FixedQParamsObserver", {"scale": 0.25, "zero_point": 3}),
    ("PlaceholderObserver", {}),
    ("RecordingObserver", {}),
    ("NoopObserver", {}),
    ("ReuseInputObserver", {}),
    ("FakeQuantize", {"observer": "MovingAverageMinMaxObserver"}),
    ("FakeQuantize", {"observer": "PerChannelMinMaxObserver", "qscheme": torch.per_channel_affine}),
    ("FakeQuantize", {"observer": "PerChannelMinMaxObserver", "qscheme": torch.per_channel_affine_float_qparams}),
    ("FakeQuantize", {"observer": "HistogramObserver"}),
    ("FusedMovingAvgObsFakeQuantize", {"observer": "MovingAverageMinMaxObserver"}),
    ("FusedMovingAvgObsFakeQuantize", {"observer": "MovingAveragePerChannelMinMaxObserver", "qscheme": torch.per_channel_symmetric}),
    ("LearnableFakeQuantize", {"observer": "MinMaxObserver"}),
]
DEFAULTS = [n for m in (torch_ob, torch_fq) for n in dir(m) if n.startswith("default_") or "neg_127_to_127" in n]


def find(name: str) -> tuple[Any, Any]:
    for ours, theirs in ((our_ob, torch_ob), (our_fq, torch_fq), (our_fq, torch_learnable)):
        if hasattr(theirs, name):
            return getattr(ours, name), getattr(theirs, name)
    raise AssertionError(name)


def make(name: str, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    ours, theirs = find(name)
    inner = [{"observer": find(kwargs["observer"])[i]} if "observer" in kwargs else {} for i in (0, 1)]
    return ours(**{k: to_pt2q(v) for k, v in kwargs.items()} | inner[0]), theirs(**kwargs | inner[1])


def data(seed: int) -> torch.Tensor:
    return torch.randn(3, 5, generator=torch.Generator().manual_seed(seed)) * (seed + 1)


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_state_travels(name, kwargs) -> None:
    ours, theirs = make(name, kwargs)
    for seed in range(2):
        ours(to_pt2q(data(seed))), theirs(data(seed))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, want in theirs.state_dict().items():
        assert_same(ours.state_dict()[key], want)

    # torchao -> pt2q: go on from there alike.
    fresh, _ = make(name, kwargs)
    fresh.load_state_dict({k: to_pt2q(v) for k, v in theirs.state_dict().items()})
    assert ours.state_dict()._metadata == dict(theirs.state_dict()._metadata)
    # pt2q -> torchao. PyTorch's LearnableFakeQuantize has no parameters to load into before a batch.
    _, loaded = make(name, kwargs)
    if name == "LearnableFakeQuantize":
        loaded(data(5))
    state = OrderedDict((k, to_torch(v)) for k, v in ours.state_dict().items())
    state._metadata = ours.state_dict()._metadata
    loaded.load_state_dict(state)
    want = theirs(data(7))
    assert_same(fresh(to_pt2q(data(7))), want)
    assert torch.equal(loaded(data(7)), want)
    for key, value in theirs.state_dict().items():
        assert_same(fresh.state_dict()[key], value)
        assert_same(to_pt2q(loaded.state_dict()[key]), value)


@pytest.mark.parametrize("name", sorted(set(DEFAULTS)))
def test_named_defaults(name) -> None:
    ours, theirs = find(name)
    a, b = ours(), theirs()
    assert type(a).__name__ == type(b).__name__
    x = torch.randn(4, 256, generator=torch.Generator().manual_seed(0))
    assert_same(a(to_pt2q(x)), b(x))
    if "min_val" in b.state_dict() or "scale" in b.state_dict():
        assert_same(a.calculate_qparams(), b.calculate_qparams())
    for key, want in b.state_dict().items():
        assert_same(a.state_dict()[key], want)


def test_old_versions_of_the_state() -> None:
    """min_vals and max_vals of version 2; an unused observer of version 1."""
    ours, _ = make("PerChannelMinMaxObserver", {})
    ours.load_state_dict({"min_vals": to_pt2q(torch.tensor([-1.0, 0.0])), "max_vals": to_pt2q(torch.tensor([1.0, 2.0]))})
    assert_same(ours.min_val, torch.tensor([-1.0, 0.0]))
    ours, _ = make("HistogramObserver", {"bins": 4})
    ours.load_state_dict({"histogram": to_pt2q(torch.zeros(4)), "min_val": to_pt2q(torch.zeros(0)), "max_val": to_pt2q(torch.zeros(0))})
    assert_same(ours.min_val, torch.tensor(float("inf")))


@pytest.mark.parametrize("change", ["missing", "unexpected", "size"])
def test_bad_states_have_pytorchs_type_and_text(change) -> None:
    ours, theirs = make("HistogramObserver", {"bins": 4})
    state = dict(theirs.state_dict())
    if change == "missing":
        del state["min_val"]
    elif change == "unexpected":
        state["what"] = torch.zeros(1)
    else:
        state["histogram"] = torch.zeros(5)
    with pytest.raises(RuntimeError) as want:
        theirs.load_state_dict(state)
    with pytest.raises(RuntimeError) as got:
        ours.load_state_dict({k: to_pt2q(v) for k, v in state.items()})
    # PyTorch names a missing min_val twice.
    text = " ".join(str(want.value).split()).replace('"min_val", "min_val"', '"min_val"')
    assert " ".join(str(got.value).split()) == text
