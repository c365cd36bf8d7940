"""TorchScript mode against torch.quantization.quantize_jit: observers, scales and results."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
import torch
import torch.quantization.quantize_jit
from torch.ao import quantization as theirs

import pt2q
from pt2q import quantization as ours

their_jit = importlib.import_module("torch.ao.quantization.quantize_jit")
our_jit = importlib.import_module("pt2q.quantization.quantize_jit")


@pytest.fixture(autouse=True)
def quiet():
    """PyTorch on its QNNPACK engine: it adds products in 32 bits on every CPU, so nothing saturates."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "qnnpack"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.backends.quantized.engine = before


def make(T):
    nn = T.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.c1, self.r, self.c2 = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return T.nn.functional.relu(self.c2(self.r(self.c1(x))) + x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.bn, self.r, self.b = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Block()
            self.p, self.f, self.f2 = nn.MaxPool2d(2), nn.Linear(4, 5), nn.Linear(5, 5)

        def forward(self, x):
            x = self.b(self.p(self.r(self.bn(self.c(x)))))
            y = self.f(x.mean([2, 3]))
            return T.sigmoid(T.cat([self.f2(y), y], 1)) + 1

    return Model


def pair():
    torch.manual_seed(5)
    a = make(torch)().eval()
    with torch.no_grad():
        a.bn.running_mean.uniform_(-0.3, 0.3)
        a.bn.running_var.uniform_(0.5, 1.5)
    b = make(pt2q)().eval()
    b.load_state_dict({k: v.numpy() for k, v in a.state_dict().items()})
    return a, b


def qconfig(side, per_channel=False, **args):
    weight = side.default_per_channel_weight_observer if per_channel else side.default_weight_observer
    return side.QConfig(activation=side.MinMaxObserver.with_args(**args), weight=weight)


def observers(model):
    return {n: m for n, m in model.named_modules() if "_observer_" in n.rsplit(".", 1)[-1]}


@pytest.mark.parametrize("scope", ["all", "without b", "only b"])
def test_observers_stand_where_pytorch_puts_them(scope):
    a, b = pair()
    x = torch.randn(2, 3, 8, 8)
    names = []
    for model, side, jit, T, example in ((a, theirs, their_jit, torch, x), (b, ours, our_jit, pt2q, pt2q.from_numpy(x.numpy()))):
        q = qconfig(side)
        configs = {"all": {"": q}, "without b": {"": q, "b": None}, "only b": {"b": q}}[scope]
        names.append(sorted(observers(jit.prepare_jit(T.jit.trace(model, example), configs))))
    assert names[1] == names[0]


@pytest.mark.parametrize("per_channel", [False, True], ids=["per_tensor", "per_channel"])
@pytest.mark.parametrize("scheme", ["per_tensor_affine", "per_tensor_symmetric"])
def test_results_equal_pytorchs(scheme, per_channel):
    """Two steps of the output scale (1/256 of sigmoid) are allowed for: a value of an earlier layer that
    lies between two integers may be rounded the other way, and sums are rounded once less here."""
    a, b = pair()
    batches = [torch.randn(2, 3, 8, 8) for _ in range(3)]
    outputs, ranges = [], []
    for model, side, jit, T in ((a, theirs, their_jit, torch), (b, ours, our_jit, pt2q)):
        convert = (lambda t: t) if T is torch else (lambda t: pt2q.from_numpy(t.numpy()))
        args = {"qscheme": getattr(T, scheme), "reduce_range": scheme == "per_tensor_affine"}
        traced = T.jit.trace(model, convert(batches[0]))
        prepared = jit.prepare_jit(traced, {"": qconfig(side, per_channel, **args)})
        for x in batches:
            prepared(convert(x))
        found = observers(prepared)
        ranges.append(sorted((float(o.min_val.min()), float(o.max_val.max())) for o in found.values() if o.min_val.numel() == 1))
        converted = jit.convert_jit(prepared)
        outputs.append([converted(convert(x)).numpy() for x in batches])
    assert len(ranges[0]) == len(ranges[1])
    np.testing.assert_allclose(ranges[1], ranges[0], rtol=2e-5, atol=1e-6)
    for want, got in zip(*outputs):
        assert np.abs(want - got).max() <= 1.01 / 256 * 2


def test_error_texts():
    a, b = pair()
    x = torch.randn(2, 3, 8, 8)
    for bad in (
        lambda m, t, j, q: j.prepare_jit(m, {"": q}),
        lambda m, t, j, q: j.prepare_jit(t, {1: q}),
        lambda m, t, j, q: j.convert_jit(m),
    ):
        with pytest.raises(ValueError) as want:
            bad(a, torch.jit.trace(a, x), their_jit, qconfig(theirs))
        with pytest.raises(ValueError) as got:
            bad(b, pt2q.jit.trace(b, pt2q.from_numpy(x.numpy())), our_jit, qconfig(ours))
        assert str(got.value).split(", got")[0] == str(want.value).split(", got")[0]
