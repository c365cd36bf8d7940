"""What ExecuTorch's tests of XNNPACKQuantizer check, on networks of our own (docs/peer_checks.md)."""

from __future__ import annotations

import numpy as np
import pytest
from peer_nets import Fn, conv, count, counts, exported, flow, image, spelled

import pt2q
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from pt2q.nn import functional as F


def config(**kwargs):
    return get_symmetric_quantization_config(**{"is_per_channel": True, **kwargs})


def xnnpack(**kwargs):
    return XNNPACKQuantizer().set_global(config(**kwargs))


def linear():
    return nn.Linear(4, 4)


# --- convolutions and linears ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "dims", "word"),
    [(nn.Conv1d(3, 3, 3), (1, 3, 5), "conv1d"), (nn.Conv2d(3, 3, 3), (1, 3, 5, 5), "conv2d"),
     (nn.Conv3d(3, 3, 3), (1, 3, 5, 5, 5), "conv3d"), (nn.ConvTranspose2d(3, 3, 3), (1, 3, 5, 5), "conv_transpose2d")],
)  # fmt: skip
def test_convolutions(layer, dims, word):
    _, model = flow(layer, xnnpack(), pt2q.randn(*dims))
    assert spelled(model) == f"q dq {word} q dq"
    assert counts(model) == (2, 2, 1)
    assert count(model, "wq") == 0


def test_convolution_of_two_and_one_dimensions():
    net = Fn(lambda m, x: m.b(m.a(x).flatten(2)), a=nn.Conv2d(3, 3, 3), b=nn.Conv1d(3, 3, 3))
    _, model = flow(net, xnnpack(), pt2q.randn(1, 3, 5, 5))
    assert spelled(model) == "q dq conv2d q dq flatten q dq conv1d q dq"


def test_operator_type_picks_one_kind_of_convolution():
    net = Fn(lambda m, x: m.b(m.a(x)), a=nn.ConvTranspose2d(1, 3, 3, bias=False), b=nn.Conv2d(3, 2, 3, bias=False))
    x = pt2q.randn(1, 1, 3, 3)
    q = XNNPACKQuantizer().set_operator_type(pt2q.ops.aten.conv_transpose2d.input, config())
    assert spelled(flow(net, q, x)[1]) == "q dq conv_transpose2d q dq conv2d"
    q = XNNPACKQuantizer().set_operator_type(pt2q.ops.aten.conv2d.default, config())
    assert spelled(flow(net, q, x)[1]) == "conv_transpose2d q dq conv2d q dq"


@pytest.mark.parametrize("dims", [(9, 4), (2, 3, 4), (2, 3, 5, 4)])
def test_linears_of_any_rank(dims):
    seen, model = flow(nn.Sequential(linear(), linear()), xnnpack(), pt2q.randn(*dims))
    assert spelled(model) == "q dq linear q dq linear q dq"
    assert counts(model) == (3, 3, 2)
    assert seen.inputs["linear"][1].qscheme == pt2q.per_channel_symmetric


@pytest.mark.parametrize("dims", [(1, 4), (1, 2, 4), (1, 2, 3, 4)])
def test_linear_and_relu_are_one_pattern(dims):
    _, model = flow(nn.Sequential(linear(), nn.ReLU()), xnnpack(), pt2q.randn(*dims))
    assert spelled(model) == "q dq linear relu q dq"


@pytest.mark.parametrize("permute", [False, True])
def test_convolution_then_linears(permute):
    def function(m, x):
        y = m.conv(x)
        return m.b(m.a(y.permute(0, 2, 3, 1) if permute else y))

    net = Fn(function, conv=nn.Conv2d(3, 4, 3, padding=1), a=linear(), b=linear())
    _, model = flow(net, xnnpack(), image(size=4))
    words = "q dq conv2d q dq permute q dq linear q dq linear q dq"
    assert spelled(model) == (words if permute else words.replace("permute q dq ", ""))


def test_dynamic_batch():
    batch = pt2q.export.Dim("batch", min=1, max=64)
    net = nn.Sequential(linear(), linear()).eval()
    program = pt2q.export.export(net, (pt2q.randn(9, 3, 4),), dynamic_shapes=({0: batch},))
    model = prepare_pt2e(program.module(), xnnpack())
    model(pt2q.randn(5, 3, 4))
    model = convert_pt2e(model)
    assert counts(model) == (3, 3, 2)
    for n in (1, 7):
        assert tuple(model(pt2q.randn(n, 3, 4)).shape) == (n, 3, 4)


# --- operators that hand data on ---------------------------------------------------------------------


def test_observers_are_shared_through_pooling_and_activations():
    net = Fn(lambda m, x: pt2q.mean(m.tanh(m.pool(m.a(x)))), a=conv(), pool=nn.AdaptiveAvgPool2d((1, 1)), tanh=nn.Hardtanh())
    seen, model = flow(net, xnnpack(), image())
    assert spelled(model) == "q dq conv2d q dq adaptive_avg_pool2d q dq hardtanh q dq mean q dq"
    observers = [seen.outputs["conv2d"], *(seen.outputs[n] for n in ("adaptive_avg_pool2d", "hardtanh", "mean"))]
    assert all(o is observers[0] for o in observers)


def test_annotations_are_handed_on_through_views():
    net = Fn(lambda m, x: m.fc(m.act(m.a(x).view(2, -1))), a=nn.Conv2d(3, 3, 3), act=nn.Hardtanh(), fc=nn.Linear(27, 4))
    seen, model = flow(net, xnnpack(), pt2q.randn(2, 3, 5, 5))
    for name in ("view", "hardtanh"):
        assert seen.inputs[name][0] is seen.outputs[name] is seen.outputs["conv2d"]
    assert counts(model) == (5, 5, 2)


# --- settings ----------------------------------------------------------------------------------------


class Sub(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = linear()

    def forward(self, x):
        return self.linear(x)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.sub = linear(), Sub()

    def forward(self, x):
        return self.sub(self.linear(x))


@pytest.mark.parametrize(
    "quantizer",
    [
        XNNPACKQuantizer().set_module_name("sub", config()),
        XNNPACKQuantizer().set_module_type(Sub, config()),
        xnnpack().set_filter_function(lambda n: n.name == "linear_1"),
    ],
    ids=["name", "type", "filter"],
)
def test_only_the_chosen_linear(quantizer):
    _, model = flow(Pair(), quantizer, pt2q.randn(3, 4))
    assert spelled(model) == "linear q dq linear q dq"


def test_names_with_underscores_and_other_schemes():
    net = Fn(lambda m, x: m.baz(m.foo_bar(x)), foo_bar=linear(), baz=linear())
    seen, _ = flow(net, XNNPACKQuantizer().set_module_name("foo_bar", config()), pt2q.randn(2, 4))
    assert seen.inputs["linear"][1].qscheme == pt2q.per_channel_symmetric
    assert seen.inputs["linear_1"][1] is None
    q = xnnpack(is_per_channel=False).set_module_name("foo_bar", config())
    seen, _ = flow(net, q, pt2q.randn(2, 4))
    assert seen.inputs["linear"][1].qscheme == pt2q.per_channel_symmetric
    assert seen.inputs["linear_1"][1].qscheme == pt2q.per_tensor_symmetric


def test_one_module_type_among_others():
    def function(m, x):
        y = m.a(x)
        return m.fc(pt2q.flatten(m.pool(F.relu(m.b(y) + m.c(y))), 1))

    net = Fn(function, a=conv(), b=conv(), c=conv(), pool=nn.AdaptiveAvgPool2d((1, 1)), fc=nn.Linear(3, 4))
    _, model = flow(net, XNNPACKQuantizer().set_module_type(nn.Linear, config()), image())
    assert spelled(model).endswith("flatten q dq linear q dq")
    assert counts(model) == (2, 2, 1)


# --- dynamic -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [(9, 4), (2, 3, 5, 4)])
@pytest.mark.parametrize("weight", [(-127, 127), (0, 15)], ids=["int8", "int4"])
def test_dynamic_linears(dims, weight):
    quantizer = xnnpack(is_dynamic=True, weight_qmin=weight[0], weight_qmax=weight[1])
    _, model = flow(nn.Sequential(linear(), linear()), quantizer, pt2q.randn(*dims))
    assert spelled(model) == "choose q dq linear choose q dq linear"
    assert counts(model) == (2, 2, 2)
    stored = [v for k, v in model.state_dict().items() if k.startswith("_frozen_param")]
    assert len(stored) == 2
    assert all(np.asarray(v).min() >= weight[0] and np.asarray(v).max() <= weight[1] for v in stored)


def test_dynamic_linear_behind_a_static_convolution():
    net = Fn(lambda m, x: m.fc(m.a(x)), a=conv(), fc=nn.Linear(8, 4))
    q = XNNPACKQuantizer().set_operator_type(pt2q.ops.aten.linear.default, config(is_dynamic=True))
    q.set_operator_type(pt2q.ops.aten.conv2d.default, config())
    _, model = flow(net, q, image())
    assert spelled(model) == "q dq conv2d q dq choose q dq linear"


# --- additions and multiplications -------------------------------------------------------------------


def add_in_place(m, x, y):
    z = x + y
    z += x
    return z


def mul_in_place(m, x, y):
    z = x * y
    z *= x
    return z


@pytest.mark.parametrize("function", [add_in_place, mul_in_place])
def test_additions_and_multiplications_in_place(function):
    seen, model = flow(Fn(function), xnnpack(), pt2q.randn(1, 3, 5), pt2q.randn(1, 3, 5))
    assert count(model, "q") == 4  # two inputs, two results
    assert all(o is not None for inputs in seen.inputs.values() for o in inputs)


def test_scalars_become_constants():
    net = Fn(lambda m, x: (x + 3) * 0.5)
    seen, model = flow(net, xnnpack(), pt2q.randn(1, 3, 5))
    assert all(o is not None for name in ("add", "mul") for o in seen.inputs[name])
    constants = [n for n in model.graph.nodes if n.op == "get_attr"]
    assert len(constants) == 2


def test_huge_constants_are_left_alone():
    net = Fn(lambda m, x: x * float(np.finfo(np.float32).max))
    _, model = flow(net, xnnpack(), pt2q.randn(1, 3, 5))
    assert counts(model) == (0, 0, 0)


def test_integers_are_left_alone():
    net = Fn(lambda m, x: (x + x) * x)
    x = pt2q.tensor(np.arange(6, dtype=np.int64))
    prepared = prepare_pt2e(exported(net, x), xnnpack())
    assert not any(n.op == "call_module" for n in prepared.graph.nodes)


def test_concatenation_of_one_tensor_with_itself():
    net = Fn(lambda m, x: pt2q.cat([x, x]))
    seen, model = flow(net, xnnpack(), pt2q.randn(1, 3, 5))
    assert seen.inputs["cat"][0] is seen.outputs["cat"]
    assert count(model, "q") == 2


def test_residual_network():
    """Convolutions, a residual addition with relu, pooling, a linear: everything has int8 around it."""

    def function(m, x):
        y = F.relu(m.a(x))
        y = F.relu(m.b(y) + y)
        return m.fc(pt2q.flatten(m.pool(y), 1))

    net = Fn(function, a=conv(), b=conv(), pool=nn.AdaptiveAvgPool2d((1, 1)), fc=nn.Linear(3, 4))
    x = image()
    _, model = flow(net, xnnpack(), x)
    assert spelled(model) == (
        "q dq conv2d relu q dq dq conv2d q dq add relu q dq adaptive_avg_pool2d q dq flatten q dq linear q dq"
    )
    want = np.asarray(net(x))
    # two thirds of a step per quantized tensor: well inside 5 % of the largest value
    assert np.abs(np.asarray(model(x)) - want).max() < 0.05 * max(1.0, np.abs(want).max())
