"""Eager mode against torch.quantization: same scales, zero points, integers, state keys and text.

Integers are compared on activations of at most 7 bits (the range PyTorch's own x86 default uses):
on CPUs without VNNI, PyTorch's x86 and fbgemm engines add pairs of products in 16 bits, which
saturates for 8-bit activations; pt2q never does. What is left are ties of the float epilogue: both
sides round sums of exact integers times a float32 factor, one after a fused multiply-add, so a result
may differ by one step where the value lies between two. The share of such values is bounded here.
"""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch.ao import quantization as theirs

import pt2q
from pt2q import quantization as ours

ENGINES = [e for e in ("x86", "fbgemm", "onednn", "qnnpack") if e in torch.backends.quantized.supported_engines]


def make_model(T, nnq):
    nn = T.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(8, 8, 3, padding=1, groups=2)
            self.relu = nn.ReLU()
            self.conv2 = nn.Conv2d(8, 8, 1, bias=False)
            self.sum = nnq.FloatFunctional()

        def forward(self, x):
            return self.sum.add_relu(self.conv2(self.relu(self.conv1(x))), x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.bn = nn.BatchNorm2d(8)
            self.relu = nn.ReLU()
            self.pool = nn.MaxPool2d(2)
            self.block = Block()
            self.leaky = nn.LeakyReLU(0.1)
            self.avg = nn.AdaptiveAvgPool2d((1, 1))
            self.drop = nn.Dropout()
            self.fc1 = nn.Linear(8, 16)
            self.swish = nn.Hardswish()
            self.fc2 = nn.Linear(16, 5)

        def forward(self, x):
            x = self.pool(self.relu(self.bn(self.conv(x))))
            x = self.leaky(self.block(x))
            x = self.drop(self.avg(x).flatten(1))
            return self.fc2(self.swish(self.fc1(x)))

    return Model


def pair():
    """The same model and weights on both sides, in eval mode."""
    torch.manual_seed(3)
    a = make_model(torch, torch.ao.nn.quantized)().eval()
    with torch.no_grad():
        a.bn.running_mean.uniform_(-0.3, 0.3)
        a.bn.running_var.uniform_(0.5, 1.5)
    b = make_model(pt2q, pt2q.ao.nn.quantized)().eval()
    b.load_state_dict({k: v.numpy() for k, v in a.state_dict().items()})
    return a, b


def qconfig(side, per_channel=False, symmetric=False):
    ns = torch if side is theirs else pt2q
    scheme = ns.per_tensor_symmetric if symmetric else ns.per_tensor_affine
    args = {"qscheme": scheme} if symmetric else {"qscheme": scheme, "reduce_range": True}
    weight = side.default_per_channel_weight_observer if per_channel else side.default_weight_observer
    return side.QConfig(activation=side.MinMaxObserver.with_args(**args), weight=weight)


def quantized_pair(per_channel=False, symmetric=False, fuse=False):
    a, b = pair()
    batches = [torch.randn(2, 3, 16, 16) for _ in range(3)]
    done = []
    for model, side in ((a, theirs), (b, ours)):
        if fuse:
            model = side.fuse_modules(model, [["conv", "bn", "relu"], ["block.conv1", "block.relu"]])
        model = side.QuantWrapper(model)
        model.qconfig = qconfig(side, per_channel, symmetric)
        side.prepare(model, inplace=True)
        done.append(model)
    for x in batches:
        done[0](x)
        done[1](pt2q.from_numpy(x.numpy()))
    prepared = copy.deepcopy(done)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prepared, theirs.convert(done[0]), ours.convert(done[1]), batches


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_torch_text(text):
    return text.replace("pt2q.", "torch.")


def numbers_apart(text):
    """Text without numbers, and the numbers."""
    import re

    pattern = r"-?\d+\.?\d*(?:e-?\d+)?"
    return re.sub(pattern, "#", text), np.array([float(v) for v in re.findall(pattern, text)])


@pytest.mark.parametrize("fuse", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["per_tensor", "per_channel"])
@pytest.mark.parametrize("symmetric", [False, True], ids=["affine", "symmetric"])
def test_scales_names_and_text(per_channel, symmetric, fuse):
    prepared, a, b, _ = quantized_pair(per_channel, symmetric, fuse)
    for left, right in ((prepared[0], prepared[1]), (a, b)):
        assert list(left.state_dict()) == list(right.state_dict())
        shape, values = numbers_apart(repr(left))
        our_shape, our_values = numbers_apart(as_torch_text(repr(right)))
        assert our_shape == shape
        # float32 sums in another order: the observed ranges agree to rounding
        np.testing.assert_allclose(our_values, values, rtol=2e-5, atol=1e-6)


def integers(q):
    return q.int_repr().numpy().astype(np.int64)


def record(model, names):
    seen = {}
    for name in names:
        module = model.get_submodule(name)
        module.register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, o))
    return seen


LAYERS = ["quant", "module.conv", "module.bn", "module.relu", "module.pool", "module.block.conv1", "module.block.conv2",
          "module.block", "module.leaky", "module.avg", "module.drop", "module.fc1", "module.swish", "module.fc2"]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("per_channel", [False, True], ids=["per_tensor", "per_channel"])
def test_integers_of_every_layer(engine, per_channel, monkeypatch):
    """Each layer of ours on PyTorch's own input of that layer gives PyTorch's integers."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        _, a, b, batches = quantized_pair(per_channel)
        seen_inputs = {}
        for name in LAYERS:
            module = a.get_submodule(name)
            module.register_forward_hook(lambda m, i, o, name=name: seen_inputs.__setitem__(name, (i[0], o)))
        a(batches[0])
    finally:
        torch.backends.quantized.engine = before
    state = a.state_dict()
    for name in LAYERS:
        x, y = seen_inputs[name]
        layer = b.get_submodule(name)
        if name == "quant":
            got = layer(pt2q.from_numpy(x.numpy()))
        else:
            if hasattr(layer, "scale"):  # PyTorch's own numbers: ranges may differ in the last bit
                layer.scale, layer.zero_point = float(y.q_scale()), int(y.q_zero_point())
            if hasattr(layer, "sum"):
                layer.sum.scale, layer.sum.zero_point = float(y.q_scale()), int(y.q_zero_point())
                for part in ("conv1", "conv2"):
                    inner = layer.get_submodule(part)
                    inner.scale = float(state[f"{name}.{part}.scale"])
                    inner.zero_point = int(state[f"{name}.{part}.zero_point"])
            ints = pt2q.from_numpy(x.int_repr().contiguous().numpy())
            got = layer(pt2q._core._make_per_tensor_quantized_tensor(ints, x.q_scale(), x.q_zero_point()))
        assert got.q_zero_point() == y.q_zero_point(), name
        np.testing.assert_allclose(got.q_scale(), y.q_scale(), rtol=1e-6)
        difference = np.abs(integers(got) - integers(y))
        assert difference.max() <= 1, name
        assert (difference > 0).mean() <= 0.005, name


@pytest.mark.parametrize("fuse", [False, True], ids=["plain", "fused"])
def test_whole_model(fuse):
    _, a, b, batches = quantized_pair(per_channel=True, fuse=fuse)
    for x in batches:
        want = a(x).numpy()
        got = b(pt2q.from_numpy(x.numpy())).numpy()
        # One step of the last layer's scale, plus what a step of an earlier layer makes of it.
        assert np.abs(got - want).max() <= 2.01 * a.module.fc2.scale
        assert isinstance(b(x.numpy()), np.ndarray)


def test_weights_are_torchs_integers():
    _, a, b, _ = quantized_pair(per_channel=True)
    for name in ("module.conv", "module.block.conv1", "module.fc1", "module.fc2"):
        w, v = a.get_submodule(name).weight(), b.get_submodule(name).weight()
        np.testing.assert_array_equal(integers(w), integers(v))
        np.testing.assert_array_equal(w.q_per_channel_scales().numpy(), v.q_per_channel_scales().numpy())


def test_qfunctional_scalars():
    x = torch.randn(4, 5)
    q = torch.quantize_per_tensor(x, 0.04, 100, torch.quint8)
    mine = pt2q.quantize_per_tensor(pt2q.from_numpy(x.numpy()), 0.04, 100, pt2q.quint8)
    np.testing.assert_array_equal(integers(q), integers(mine))
    f, g = torch.ao.nn.quantized.QFunctional(), pt2q.ao.nn.quantized.QFunctional()
    for number in (0.5, -0.25, 9.0, -9.0):
        want, got = f.add_scalar(q, number), g.add_scalar(mine, number)
        assert (want.q_zero_point(), pytest.approx(want.q_scale(), rel=1e-6)) == (got.q_zero_point(), got.q_scale())
        assert np.abs(integers(want) - integers(got)).max() <= 1
        want, got = f.mul_scalar(q, number), g.mul_scalar(mine, number)
        assert (want.q_zero_point(), pytest.approx(want.q_scale(), rel=1e-6)) == (got.q_zero_point(), got.q_scale())
        np.testing.assert_array_equal(integers(want), integers(got))


@pytest.mark.parametrize("operation", [
    lambda t, q: t.relu(q), lambda t, q: t.nn.functional.max_pool2d(q, 2), lambda t, q: t.nn.functional.avg_pool2d(q, 2),
    lambda t, q: q.reshape(2, -1), lambda t, q: q.permute(0, 2, 3, 1), lambda t, q: t.cat([q, q], 1), lambda t, q: q[:, 1],
    lambda t, q: t.sigmoid(q), lambda t, q: t.tanh(q), lambda t, q: t.nn.functional.hardtanh(q, -0.5, 0.7),
    lambda t, q: q.mean([2, 3]), lambda t, q: t.flatten(q, 1), lambda t, q: q.transpose(1, 2),
], ids=["relu", "max_pool", "avg_pool", "reshape", "permute", "cat", "index", "sigmoid", "tanh", "hardtanh", "mean", "flatten",
        "transpose"])  # fmt: skip
def test_operators_on_quantized_tensors(operation, request):
    x = torch.randn(2, 3, 8, 6)
    q = torch.quantize_per_tensor(x, 0.03, 90, torch.quint8)
    mine = pt2q.quantize_per_tensor(pt2q.from_numpy(x.numpy()), 0.03, 90, pt2q.quint8)
    want, got = operation(torch, q), operation(pt2q, mine)
    assert tuple(got.shape) == tuple(want.shape)
    assert got.q_zero_point() == want.q_zero_point()
    assert got.q_scale() == pytest.approx(want.q_scale(), rel=1e-7)
    difference = np.abs(integers(got) - integers(want))
    assert difference.max() <= 1  # averages, sigmoid and tanh round once more
    # A quarter of the averages of four integers lie exactly between two steps.
    assert (difference > 0).mean() <= (0.25 if "avg_pool" in request.node.name else 0.01)
