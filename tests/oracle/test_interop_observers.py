"""Training in PyTorch with learnable ranges, and with observers and fake-quantizes of the user's own."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torchao.quantization.pt2e as torch_pt2e
from bridge import assert_same, to_pt2q, to_torch
from qat_pairs import Ours, Peer, assert_same_states, lines
from torch import nn
from torchao.quantization.pt2e import quantize_pt2e as torch_flow
from torchao.quantization.pt2e.learnable_fake_quantize import LearnableFakeQuantize as TorchLearnable
from torchao.quantization.pt2e.learnable_fake_quantize import enable_range_learning as torch_enable

import pt2q
from pt2q.ao.quantization import fake_quantize, observer, quantize_pt2e
from pt2q.interop import torch as bridge

warnings.filterwarnings("ignore")
X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return torch.relu(self.conv(x))


def exported() -> torch.export.ExportedProgram:
    torch.manual_seed(5)
    return torch.export.export(Net().train(), (X,))


def specs(lib, activation, weight, weight_scheme="per_channel_symmetric"):
    return (
        lib.QuantizationSpec(lib.uint8, activation, 0, 255, qscheme=lib.per_tensor_affine),
        lib.QuantizationSpec(lib.int8, weight, -127, 127, qscheme=getattr(lib, weight_scheme), ch_axis=0),
    )


def quantizer(lib, act, weight):
    class Own(lib.Quantizer):
        def annotate(self, model):
            for n in model.graph.nodes:
                if "conv2d" in str(n.target):
                    n.meta["quantization_annotation"] = lib.QuantizationAnnotation(
                        {n.args[0]: act, n.args[1]: weight}, None, _annotated=True
                    )
                if "relu" in str(n.target):
                    n.meta["quantization_annotation"] = lib.QuantizationAnnotation({}, act, _annotated=True)
            return model

        def validate(self, model):
            pass

    return Own()


def prepare_ours(act, weight):
    model = bridge.from_exported(exported()).module()
    return quantize_pt2e.prepare_qat_pt2e(model, quantizer(Ours, act, weight))


def train(module: nn.Module, steps: int = 4) -> None:
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=0.01)
    for i in range(steps):
        loss = (module(X * (1 + i)) - 0.3).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("scheme", ["per_channel_symmetric", "per_tensor_symmetric"])
@pytest.mark.parametrize("scaling", [False, True])
def test_learned_scales_equal_the_peers_and_come_back(scheme, scaling):
    def ctrs(learnable, lib):
        per_channel = lib.PerChannelMinMaxObserver if "channel" in scheme else lib.MinMaxObserver
        return (
            learnable.with_args(observer=lib.MovingAverageMinMaxObserver, use_grad_scaling=scaling),
            learnable.with_args(observer=per_channel, use_grad_scaling=scaling),
        )

    ours = prepare_ours(*specs(Ours, *ctrs(fake_quantize.LearnableFakeQuantize, observer), scheme))
    peer = quantizer(Peer, *specs(Peer, *ctrs(TorchLearnable, torch_pt2e), scheme))
    theirs = torch_flow.prepare_qat_pt2e(exported().module(), peer)
    assert lines(ours.graph) == lines(theirs.graph)
    module = bridge.to_torch(ours)
    for model, enable in ((theirs, torch_enable), (module, bridge.enable_range_learning)):
        model(X)
        before = {k: v.clone() for k, v in model.state_dict().items() if k.endswith("scale")}
        model.apply(enable)
        train(model)
        assert not any(torch.equal(v, model.state_dict()[k]) for k, v in before.items())
    assert module.state_dict().keys() == theirs.state_dict().keys()
    assert_same_states(module, theirs)

    bridge.load_back(ours, module)
    for key, value in module.state_dict().items():
        assert_same(ours.state_dict()[key], value)
    again = bridge.to_torch(ours)  # learned ranges go there a second time
    assert_same_states(again, theirs)
    again.apply(bridge.disable_range_learning)
    assert not any(p.requires_grad for n, p in again.named_parameters() if "post_process" in n)
    got, want = quantize_pt2e.convert_pt2e(ours), torch_flow.convert_pt2e(theirs)
    assert_same_quantized(got, want)
    np.testing.assert_allclose(got(X.numpy()), want(X).detach().numpy(), atol=0.05)  # one step at most


def assert_same_quantized(got, want):
    """Scales, zero points and int8 weights; PyTorch counts nodes of weights before those of inputs."""
    arguments = [
        sorted(tuple(n.args[1:5]) for n in m.graph.nodes if "quantize_per_tensor" in str(n.target)) for m in (got, want)
    ]
    assert arguments[0] == arguments[1] and len(arguments[0]) >= 4
    mine = got.state_dict()
    for key, value in want.state_dict().items():
        if key.startswith(("_frozen", "_scale", "_zero")):
            assert_same(mine[key], value)


# --- classes of the user's ---------------------------------------------------------------------------


class PowerOfTwo(fake_quantize.FakeQuantizeBase):
    """Rounds scales up to a power of two; statistics are plain Python attributes."""

    def __init__(self, quant_min=0, quant_max=255, dtype=pt2q.uint8, qscheme=None, **kwargs):
        super().__init__()
        self.quant_min, self.quant_max, self.dtype = quant_min, quant_max, dtype
        self.qscheme = pt2q.per_tensor_symmetric if quant_min else pt2q.per_tensor_affine
        self.ch_axis = None
        self.largest, self.calls = 0.0, 0

    def calculate_qparams(self):
        scale = 2.0 ** np.ceil(np.log2(max(self.largest, 1e-6) * 2 / 255))
        return pt2q.tensor([scale]), pt2q.tensor([0 if self.quant_min else 128], dtype=pt2q.int64)

    def forward(self, x):
        values = x.numpy()
        if self.observer_enabled.item():
            self.largest, self.calls = max(self.largest, float(np.abs(values).max())), self.calls + 1
        if not self.fake_quant_enabled.item():
            return x
        scale, zero_point = (p.item() for p in self.calculate_qparams())
        steps = np.clip(np.rint(values / scale) + zero_point, self.quant_min, self.quant_max)
        return pt2q.tensor(((steps - zero_point) * scale).astype(np.float32))


def test_a_fake_quantize_of_the_users_trains_straight_through():
    ours = prepare_ours(*specs(Ours, PowerOfTwo, PowerOfTwo, "per_tensor_symmetric"))
    module = bridge.to_torch(ours)
    x = X.clone().requires_grad_()
    out = module(x)
    np.testing.assert_allclose(ours(X.numpy()), out.detach().numpy(), atol=1e-5)
    out.sum().backward()
    assert x.grad.abs().sum() > 0 and module.get_parameter("conv.weight").grad.abs().sum() > 0

    name, mine = next(iter(ours.named_children()))
    before = mine.largest
    module(X * 3)
    assert mine.largest == before  # the model changes with load_back alone
    bridge.load_back(ours, module)
    assert (mine.largest, mine.calls) == (pytest.approx(3 * before), 2)
    module.apply(torch.ao.quantization.disable_observer)
    module(X * 9)
    module.apply(torch.ao.quantization.disable_fake_quant)
    plain = Net()
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if k.startswith("conv.")})
    torch.testing.assert_close(module(X), plain(X))
    bridge.load_back(ours, module)
    assert mine.calls == 2 and mine.observer_enabled.item() == mine.fake_quant_enabled.item() == 0
    converted = quantize_pt2e.convert_pt2e(ours)
    scales = [n.args[1] for n in converted.graph.nodes if "dequantize_per_tensor" in str(n.target)]
    assert len(scales) == 3 and all(np.log2(s) == round(np.log2(s)) for s in scales)


class Wider(fake_quantize.FakeQuantize):
    """PyTorch's fake-quantize with twice the range."""

    def calculate_qparams(self):
        scale, zero_point = super().calculate_qparams()
        return scale * 2.0, zero_point


@pytest.mark.parametrize("scheme", ["per_channel_symmetric", "per_tensor_symmetric"])
def test_a_fake_quantize_derived_from_a_built_in_one_has_its_gradient(scheme):
    per_channel = observer.PerChannelMinMaxObserver if "channel" in scheme else observer.MinMaxObserver
    ours = prepare_ours(*specs(Ours, Wider, Wider.with_args(observer=per_channel), scheme))
    module = bridge.to_torch(ours)
    module(X)
    module.apply(torch.ao.quantization.disable_observer)
    x = (X * 4).requires_grad_()  # twice what was seen, and twice what the range holds
    first = next(n.target for n in module.graph.nodes if n.op == "call_module" and n.args[0].op == "placeholder")
    twin = module.get_submodule(first)
    twin(x).sum().backward()
    scale, zero_point = twin.calculate_qparams()
    inside = torch.round(x / scale) + zero_point
    assert torch.equal(x.grad != 0, (inside >= 0) & (inside <= 255)) and not bool((x.grad != 0).all())
    bridge.load_back(ours, module)
    for key, value in module.state_dict().items():
        assert_same(ours.state_dict()[key], value)
    assert_same(ours.get_submodule(first).calculate_qparams(), (scale, zero_point))


class Largest(observer.MinMaxObserver):
    """An observer with a buffer made while running, and an attribute."""

    def forward(self, x):
        self.seen = getattr(self, "seen", 0) + x.shape[0]
        if "mean" not in self.state_dict():
            self.register_buffer("mean", pt2q.tensor(x.numpy().mean()))
        return super().forward(x)


def test_an_observer_of_the_users_comes_back_with_buffers_and_attributes():
    act = Ours.QuantizationSpec(pt2q.uint8, Largest, 0, 255, qscheme=pt2q.per_tensor_affine)
    weight = Ours.QuantizationSpec(pt2q.int8, Largest, -127, 127, qscheme=pt2q.per_tensor_symmetric)
    model = bridge.from_exported(exported()).module()
    ours = quantize_pt2e.prepare_pt2e(model, quantizer(Ours, act, weight))
    module = bridge.to_torch(ours)
    module(X), module(X * 2)
    bridge.load_back(ours, module)
    first = next(iter(ours.named_children()))[1]
    assert first.seen == 8 and first.mean.item() == pytest.approx(float(X.mean()), abs=1e-6)
    assert_same(first.max_val, X.max() * 2)
    again = bridge.from_torch(module)
    assert next(iter(again.named_children()))[1].seen == 8
    # Also as the observer inside a built-in fake-quantize.
    act = Ours.QuantizationSpec(
        pt2q.uint8, fake_quantize.FakeQuantize.with_args(observer=Largest), 0, 255, qscheme=pt2q.per_tensor_affine
    )
    ours = prepare_ours(act, act)
    module = bridge.to_torch(ours)
    module(X)
    bridge.load_back(ours, module)
    inner = next(iter(ours.named_children()))[1].activation_post_process
    assert_same(inner.max_val, X.max())


class Learned(fake_quantize.FakeQuantizeBase):
    """pt2q's side of a fake-quantize whose scale is learned in PyTorch by the user's own module."""

    dtype, qscheme, quant_min, quant_max, ch_axis = pt2q.int8, pt2q.per_tensor_symmetric, -127, 127, None

    def __init__(self, **kwargs):
        super().__init__()
        self.register_buffer("step", pt2q.tensor([0.05]))

    def calculate_qparams(self):
        return self.step, pt2q.tensor([0], dtype=pt2q.int64)

    def forward(self, x):
        return pt2q.ops.aten.mul(pt2q.ops.aten.round(pt2q.ops.aten.div(x, self.step)), self.step)


class TorchLearned(nn.Module):
    def __init__(self, own):
        super().__init__()
        self.step = nn.Parameter(to_torch(own.step))
        self.register_buffer("fake_quant_enabled", torch.ones(1, dtype=torch.uint8))
        self.register_buffer("observer_enabled", torch.ones(1, dtype=torch.uint8))

    def forward(self, x):
        y = x / self.step
        return (y + (y.round() - y).detach()) * self.step


def test_the_users_own_twin_learns_parameters_that_come_back():
    spec = Ours.QuantizationSpec(pt2q.int8, Learned, -127, 127, qscheme=pt2q.per_tensor_symmetric)
    ours = prepare_ours(spec, spec)
    module = bridge.to_torch(ours, observers={Learned: TorchLearned})
    train(module)
    steps = [module.get_submodule(n.target).step.item() for n in module.graph.nodes if n.op == "call_module"]
    assert 0.05 not in steps
    converted = quantize_pt2e.convert_pt2e(bridge.load_back(ours, module))
    scales = [n.args[1] for n in converted.graph.nodes if "dequantize_per_tensor" in str(n.target)]
    assert sorted(scales) == sorted(steps)

    class Other(TorchLearned):
        def __init__(self, own):
            super().__init__(own)
            self.extra = nn.Parameter(torch.zeros(1))

    ours = prepare_ours(spec, spec)
    module = bridge.to_torch(ours, observers={Learned: Other})
    with pytest.raises(RuntimeError, match="Unexpected key.*extra"):
        bridge.load_back(ours, module)


def test_observers_made_by_functions_are_recognised_by_their_class():
    spec = Ours.QuantizationSpec(pt2q.int8, partial(Learned), -127, 127, qscheme=pt2q.per_tensor_symmetric)
    module = bridge.to_torch(prepare_ours(spec, spec), observers={Learned: TorchLearned})
    assert sum(isinstance(m, TorchLearned) for m in module.modules()) == 3
    assert to_pt2q(module(X)).shape == (4, 4, 6, 6)
