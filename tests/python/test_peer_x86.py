"""What torchao's tests of its Inductor quantizers check, on networks of our own (docs/peer_checks.md)."""

from __future__ import annotations

import numpy as np
import pytest
from peer_nets import Conv, Fn, conv, count, counts, exported, flow, image, spelled

import pt2q
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import prepare_pt2e
from pt2q.ao.quantization.quantizer.arm_inductor_quantizer import (
    ArmInductorQuantizer,
    get_default_arm_inductor_quantization_config,
)
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
    get_x86_inductor_linear_dynamic_fp16_config,
)
from pt2q.nn import functional as F

STATIC = get_default_x86_inductor_quantization_config()
DYNAMIC = get_default_x86_inductor_quantization_config(is_dynamic=True)


def x86(config=STATIC):
    return X86InductorQuantizer().set_global(config)


def arm(**kwargs):
    return ArmInductorQuantizer().set_global(get_default_arm_inductor_quantization_config(**kwargs))


def linear():
    return nn.Linear(4, 4)


def rows():
    return pt2q.randn(3, 4)


# --- convolutions ------------------------------------------------------------------------------------


def test_single_convolution():
    _, model = flow(conv(), x86(), image())
    assert spelled(model) == "q dq conv2d"
    assert counts(model) == (1, 1, 1)
    assert count(model, "wq") == 0  # weights are quantized already


@pytest.mark.parametrize(
    "act",
    [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.ReLU6(inplace=True), nn.Hardtanh(), nn.Hardtanh(inplace=True),
     nn.Hardswish(), nn.Hardswish(inplace=True), nn.SiLU(), nn.SiLU(inplace=True)],
    ids=repr,
)  # fmt: skip
def test_convolution_and_activation(act):
    seen, model = flow(Conv(act, nn.MaxPool2d(2)), x86(), image())
    name = next(n for n in seen.inputs if n.startswith(("relu", "hard", "silu")))
    assert seen.inputs[name] == [None]  # nothing between convolution and activation
    assert counts(model) == (3, 3, 1)
    assert spelled(model).endswith("q dq max_pool2d q dq")


@pytest.mark.parametrize(
    "add",
    [lambda m, x: m.a(x) + m.relu(x), lambda m, x: m.relu(x) + m.a(x), lambda m, x: m.a(x).add_(m.relu(x))],
    ids=["left", "right", "in place"],
)  # fmt: skip
def test_convolution_and_addition(add):
    seen, model = flow(Fn(add, a=conv(), relu=nn.ReLU()), x86(), image())
    assert counts(model) == (2, 2, 1)
    name = next(n for n in seen.inputs if n.startswith("add"))
    # The convolution's own output is not quantized, the other operand is.
    assert sorted(o is None for o in seen.inputs[name]) == [False, True]


def test_sum_of_two_convolutions():
    _, model = flow(Fn(lambda m, x: m.a(x) + m.b(x), a=conv(), b=conv()), x86(), image())
    assert counts(model) == (2, 3, 2)


def tail_residual(m, x):
    y = m.a(x)
    return m.b(y) + y


def test_residual_around_the_second_convolution():
    _, model = flow(Fn(tail_residual, a=conv(), b=conv()), x86(), image())
    assert spelled(model) == "q dq conv2d q dq dq conv2d add"


def test_sum_of_convolutions_and_relu():
    _, model = flow(Fn(lambda m, x: F.relu(m.a(x) + m.b(x)), a=conv(), b=conv()), x86(), image())
    assert spelled(model) == "q dq dq conv2d conv2d q dq add relu"
    assert counts(model) == (2, 3, 2)


def test_chain_of_residual_blocks():
    def serial(m, x):
        y = F.relu(m.a(x))
        y = F.relu(m.b(y) + y)
        return F.relu(m.c(y) + y)

    _, model = flow(Fn(serial, a=conv(), b=conv(), c=conv()), x86(), image())
    assert spelled(model) == "q dq conv2d relu q dq dq conv2d add relu q dq dq conv2d add relu"


# --- operators that keep int8 data -------------------------------------------------------------------


def assert_shared(seen, name):
    observers = [*seen.inputs[name], seen.outputs[name]]
    assert observers[0] is not None
    assert all(o is observers[0] for o in observers)
    assert observers[0] is not seen.inputs["conv2d"][0]


def test_max_pool_is_kept():
    net = Fn(lambda m, x: m.pool(m.a(x)).pow(2), a=conv(), pool=nn.MaxPool2d(2))
    seen, model = flow(net, x86(), image())
    assert spelled(model) == "q dq conv2d q dq max_pool2d q dq pow"
    assert_shared(seen, "max_pool2d")


def test_max_pool_of_float_data_is_not():
    with pytest.warns(UserWarning, match="The input of maxpool2d is not quantized"):
        model = prepare_pt2e(exported(nn.MaxPool2d(2), image()), x86())
    assert not any(n.op == "call_module" for n in model.graph.nodes)


@pytest.mark.parametrize(
    ("pool", "name"),
    [(nn.AdaptiveAvgPool2d((1, 1)), "adaptive_avg_pool2d"), (nn.AvgPool2d(2), "avg_pool2d")],
)
def test_average_pools_are_kept(pool, name):
    seen, model = flow(Conv(nn.ReLU(), pool), x86(), image())
    assert spelled(model) == f"q dq conv2d relu q dq {name} q dq"
    assert_shared(seen, name)


def test_flatten_is_kept_before_an_operator_that_quantizes():
    def function(m, x):
        return pt2q.cat([pt2q.flatten(m.a(x), 1), pt2q.flatten(m.b(x), 1)], 1).transpose(0, 1)

    seen, model = flow(Fn(function, a=conv(), b=conv()), x86(), image())
    assert spelled(model).count("q dq flatten q dq") == 2
    assert_shared(seen, "flatten")
    assert_shared(seen, "cat")
    assert_shared(seen, "flatten_1")


def test_flatten_is_left_alone_before_others():
    net = Fn(lambda m, x: pt2q.flatten(m.a(x), 1).transpose(0, 1), a=conv())
    _, model = flow(net, x86(), image())
    assert spelled(model) == "q dq conv2d flatten transpose"


def test_concatenation_and_pool_share_one_observer():
    def function(m, x):
        y = F.relu(m.a(x))
        return m.pool(pt2q.cat([m.b(y), m.c(y.pow(2))], 1))

    net = Fn(function, a=conv(), b=conv(), c=conv(), pool=nn.MaxPool2d(2))
    seen, model = flow(net, x86(), image())
    assert counts(model) == (7, 7, 3)
    assert_shared(seen, "cat")
    assert_shared(seen, "max_pool2d")
    assert seen.inputs["cat"][0] is seen.inputs["max_pool2d"][0]


@pytest.mark.parametrize("times", [1, 2])
def test_concatenation_of_one_tensor(times):
    def function(m, x):
        y = F.relu(m.a(x))
        return pt2q.cat([y] * times, 1)

    seen, model = flow(Fn(function, a=conv()), x86(), image())
    assert spelled(model) == "q dq conv2d relu q dq cat q dq"
    assert counts(model) == (3, 3, 1)
    assert_shared(seen, "cat")


# --- linears -----------------------------------------------------------------------------------------


def test_single_linear():
    for bias in (True, False):
        _, model = flow(nn.Linear(4, 4, bias=bias), x86(), rows())
        assert spelled(model) == "q dq linear"
        assert counts(model) == (1, 1, 1)


ACTS = [nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(), nn.LeakyReLU(inplace=True), nn.Tanh(), nn.GELU(), nn.GELU("tanh")]


@pytest.mark.parametrize("act", ACTS, ids=repr)
@pytest.mark.parametrize("dims", [(3, 4), (2, 3, 4)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_and_activation(act, dims, bias):
    net = nn.Sequential(nn.Linear(4, 4, bias=bias), act, linear())
    _, model = flow(net, x86(), pt2q.randn(*dims))
    assert counts(model) == (2, 2, 2)
    first, second = spelled(model).split("linear")[:2]
    assert first == "q dq "
    assert second.split()[1:] == ["q", "dq"]  # activation, then the second linear's input


@pytest.mark.parametrize("act", ACTS, ids=repr)
def test_dynamic_linear_and_activation(act):
    _, model = flow(nn.Sequential(linear(), act), x86(DYNAMIC), rows())
    assert spelled(model).startswith("choose q dq linear ")
    assert (count(model, "choose"), *counts(model)) == (1, 1, 1, 1)


@pytest.mark.parametrize(("config", "prefix"), [(STATIC, "q dq"), (DYNAMIC, "choose q dq")], ids=["static", "dynamic"])
@pytest.mark.parametrize("relu", [False, True])
def test_linear_and_addition_leaves_the_other_operand_in_float(config, prefix, relu):
    def function(m, x):
        y = m.a(x) + m.relu(x) * 1.0
        return F.relu(y) if relu else y

    seen, model = flow(Fn(function, a=linear(), relu=nn.ReLU()), x86(config), rows())
    assert seen.inputs["add"] == [None, None]
    assert counts(model) == (1, 1, 1)
    assert spelled(model).startswith(prefix)


def test_residual_around_the_second_linear():
    seen, model = flow(Fn(tail_residual, a=linear(), b=linear()), x86(), rows())
    assert spelled(model) == "q dq linear q dq linear add"
    assert counts(model) == (2, 2, 2)
    assert seen.inputs["add"] == [None, None]


def test_one_linear_called_twice():
    """Shared weights; behind the first call a relu is fused, behind the second an addition."""

    def function(m, x):
        y = F.relu(m.a(x))
        return m.a(y) + y

    seen, model = flow(Fn(function, a=linear()), x86(), rows())
    assert seen.inputs["relu"] == [None]
    assert seen.inputs["add"] == [None, None]
    assert seen.inputs["linear"][1] is seen.inputs["linear_1"][1]  # one observer of the weight
    assert counts(model)[0] == 2


def test_chain_of_residual_linears():
    def function(m, x):
        y = F.relu(m.a(x))
        y = F.relu(m.b(y) + y)
        return F.relu(m.c(y) + y)

    _, model = flow(Fn(function, a=linear(), b=linear(), c=linear()), x86(), rows())
    assert spelled(model) == "q dq linear relu q dq linear add relu q dq linear add relu"


def test_float16_linear():
    quantizer = x86(get_x86_inductor_linear_dynamic_fp16_config())
    x = rows()
    net = nn.Sequential(linear(), nn.ReLU(), linear())
    _, model = flow(net, quantizer, x)
    assert counts(model) == (0, 0, 0)
    assert count(model, "no_fuse") + count(model, "convert_element_type") == 4  # two per weight
    # float16 keeps 11 bits of each weight
    np.testing.assert_allclose(np.asarray(model(x)), np.asarray(net(x)), atol=5e-3)


# --- attention, multiplication -----------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = linear(), linear(), linear()

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        weights = F.softmax(pt2q.matmul(q, k.transpose(-2, -1)) / 2.0, -1)
        return pt2q.matmul(weights, v)


def test_three_linears_share_the_quantized_input():
    seen, model = flow(Attention(), x86(), rows())
    assert counts(model) == (1, 3, 3)
    assert seen.inputs["linear"][0] is seen.inputs["linear_1"][0] is seen.inputs["linear_2"][0]


def test_attention_with_matmul_configured():
    q = x86().set_function_type_qconfig(pt2q.matmul, STATIC)
    _, model = flow(Attention(), q, rows())
    assert counts(model) == (5, 7, 3)


def test_dynamic_linears_share_one_choice_of_parameters():
    _, model = flow(Attention(), x86(DYNAMIC), rows())
    assert (count(model, "choose"), *counts(model)) == (1, 1, 1, 3)


def test_multiplication_needs_two_tensors_of_one_shape():
    net = Fn(lambda m, x: m.a(x) * m.b(x), a=linear(), b=linear())
    assert counts(flow(net, x86(), rows())[1]) == (3, 4, 2)
    for other in (2.0, None):
        net = Fn(lambda m, x, other=other: m.a(x) * (x[:1] if other is None else other), a=linear())
        assert counts(flow(net, x86(), rows())[1]) == (1, 1, 1)


# --- settings ----------------------------------------------------------------------------------------


class Sub(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1, self.linear2 = linear(), linear()

    def forward(self, x):
        return self.linear2(F.relu(self.linear1(x)))


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.sub, self.linear, self.foo_bar = Sub(), linear(), linear()

    def forward(self, x):
        return self.foo_bar(self.linear(self.sub(x)))


def quantized_linears(quantizer):
    model = prepare_pt2e(exported(Nested(), rows()), quantizer)
    linears = [n for n in model.graph.nodes if n.op == "call_function" and n.name.startswith("linear")]
    return [n.name for n in linears if n.all_input_nodes[1].op == "call_module"]


@pytest.mark.parametrize("make", [X86InductorQuantizer, ArmInductorQuantizer])
@pytest.mark.parametrize("dynamic", [False, True])
def test_settings_by_module_name(make, dynamic):
    get = (
        get_default_arm_inductor_quantization_config
        if make is ArmInductorQuantizer
        else get_default_x86_inductor_quantization_config
    )
    config = get(is_dynamic=dynamic)
    every = ["linear", "linear_1", "linear_2", "linear_3"]
    assert quantized_linears(make().set_module_name_qconfig("sub", config)) == every[:2]
    assert quantized_linears(make().set_module_name_qconfig("sub.linear2", config)) == [every[1]]
    assert quantized_linears(make().set_module_name_qconfig("foo_bar", config)) == [every[3]]
    q = make().set_global(config).set_module_name_qconfig("sub", None)
    assert quantized_linears(q) == every[2:]
    # A name wins over a type, whichever is set first.
    q = make().set_module_type_qconfig(nn.Linear, config).set_module_name_qconfig("sub", None)
    assert quantized_linears(q) == every[2:]
    q = make().set_module_name_qconfig("sub", config).set_module_type_qconfig(nn.Linear, None)
    assert quantized_linears(q) == every[:2]


@pytest.mark.parametrize("make", [X86InductorQuantizer, ArmInductorQuantizer])
def test_mixed_static_and_dynamic_by_name(make):
    get = (
        get_default_arm_inductor_quantization_config
        if make is ArmInductorQuantizer
        else get_default_x86_inductor_quantization_config
    )
    q = make().set_module_name_qconfig("sub", get())
    with pytest.warns(UserWarning, match="Mixed dynamic and static quantization config is not supported."):
        q.set_module_name_qconfig("linear", get(is_dynamic=True))
    with pytest.warns(UserWarning, match="Mixed QAT and Non-QAT quantization config is not supported."):
        q.set_module_type_qconfig(nn.Linear, get(is_qat=True))
    assert quantized_linears(q) == ["linear", "linear_1"]


@pytest.mark.parametrize(
    ("exclude", "words"),
    [
        (lambda q: q.set_function_type_qconfig(F.conv2d, None), "conv2d relu max_pool2d"),
        (lambda q: q.set_module_type_qconfig(nn.Conv2d, None), "conv2d relu max_pool2d"),
        (lambda q: q.set_function_type_qconfig(F.max_pool2d, None), "q dq conv2d relu max_pool2d"),
        (lambda q: q.set_module_type_qconfig(nn.MaxPool2d, None), "q dq conv2d relu max_pool2d"),
    ],
)
def test_types_set_to_none_stay_float(exclude, words):
    net = Conv(nn.ReLU(), nn.MaxPool2d(2))
    quantizer = exclude(x86())
    model = flow(net, quantizer, image())[1] if "q dq" in words else exported_and_prepared(net, quantizer)
    assert spelled(model) == words


def exported_and_prepared(net, quantizer):
    return prepare_pt2e(exported(net, image()), quantizer)


@pytest.mark.parametrize("by", ["set_function_type_qconfig", "set_module_type_qconfig"])
def test_linears_set_to_none_stay_float(by):
    kind = F.linear if "function" in by else nn.Linear
    q = getattr(x86(), by)(kind, None)
    assert quantized_linears(q) == []


# --- Arm ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (conv(), "q dq conv2d"),
        (Fn(lambda m, x: m.a(x) + m.relu(x), a=conv(), relu=nn.ReLU()), "q dq conv2d relu q dq add"),
        (Fn(tail_residual, a=conv(), b=conv()), "q dq conv2d q dq dq conv2d add"),
    ],
    ids=["alone", "addition", "residual"],
)
def test_arm_convolutions(net, words):
    _, model = flow(net, arm(), image())
    assert spelled(model) == words
    assert count(model, "wdq") == 0  # weights have one scale


@pytest.mark.parametrize("act", ACTS, ids=repr)
@pytest.mark.parametrize("dynamic", [False, True])
def test_arm_linear_and_activation(act, dynamic):
    seen, model = flow(nn.Sequential(linear(), act), arm(is_dynamic=dynamic), rows())
    assert count(model, "choose") == int(dynamic)
    assert count(model, "q") == 1
    weight = seen.inputs["linear"][1]
    assert weight.dtype == pt2q.int8
    assert weight.qscheme == pt2q.per_tensor_symmetric


def test_arm_attention():
    config = get_default_arm_inductor_quantization_config()
    _, model = flow(Attention(), arm(), rows())
    assert count(model, "q") == 1
    q = arm().set_function_type_qconfig(pt2q.matmul, config)
    assert count(flow(Attention(), q, rows())[1], "q") == 5
