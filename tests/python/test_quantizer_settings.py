"""Settings of the built-in quantizers: priorities, patterns of module names, activations left in float."""

from __future__ import annotations

import numpy as np
import pytest

import pt2q
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import (
    ComposableQuantizer,
    EmbeddingQuantizer,
    QuantizationCapabilities,
    get_module_name_filter,
    leave_activations_float,
)
from pt2q.ao.quantization.quantizer.arm_inductor_quantizer import (
    ArmInductorQuantizer,
    get_default_arm_inductor_quantization_config,
)
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
    get_x86_inductor_linear_dynamic_fp16_config,
)
from pt2q.ao.quantization.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from pt2q.ao.quantization.quantizer.xpu_inductor_quantizer import XPUInductorQuantizer
from pt2q.nn import functional as F

STATIC = get_default_x86_inductor_quantization_config()


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv2(self.relu(self.conv1(x)))


class Net(nn.Module):
    """Two blocks, pooling, a linear: conv2d … conv2d_3, max_pool2d, linear."""

    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = Block(), Block()
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(4 * 16, 3)

    def forward(self, x):
        return self.fc(self.pool(self.layer2(self.layer1(x))).flatten(1))


def exported(net=None, *inputs):
    inputs = inputs or (pt2q.randn(2, 4, 8, 8),)
    return pt2q.export.export((net or Net()).eval(), inputs).module()


def prepared(quantizer, net=None, *inputs):
    return prepare_pt2e(exported(net, *inputs), quantizer)


def observed(model):
    """Operator → for each tensor it reads: is it observed?"""
    return {
        n.name: [i.op == "call_module" for i in n.all_input_nodes if not i.name.endswith("bias")]
        for n in model.graph.nodes
        if n.op == "call_function"
    }


def weights(model):
    """Operators whose weights are observed."""
    return [name for name, inputs in observed(model).items() if len(inputs) > 1 and inputs[1]]


def x86():
    return X86InductorQuantizer().set_global(STATIC)


# --- priorities ------------------------------------------------------------------------------------


def test_module_name_wins_over_type_wins_over_global():
    reduced = get_default_x86_inductor_quantization_config(reduce_range=True)
    q = x86().set_module_type_qconfig(nn.Conv2d, None).set_module_name_qconfig("layer1", reduced)
    model = prepared(q)
    # layer1 by name, its convolutions are not left out by type; the linear by the global setting.
    assert weights(model) == ["conv2d", "conv2d_1", "linear"]
    assert model.activation_post_process_0.quant_max == 127
    last = next(n for n in model.graph.nodes if n.name == "linear").all_input_nodes[0]
    assert getattr(model, str(last.target)).quant_max == 255


def test_order_of_setters_does_not_matter_for_priority():
    a = X86InductorQuantizer().set_module_name_qconfig("layer1", None).set_global(STATIC)
    b = x86().set_module_name_qconfig("layer1", None)
    assert weights(prepared(a)) == weights(prepared(b)) == ["conv2d_2", "conv2d_3", "linear"]


def test_none_by_function_and_type():
    for q in (
        x86().set_function_type_qconfig(F.conv2d, None),
        x86().set_config_for_operator_type("conv2d", None),  # its name in PyTorch 2.1
        x86().set_module_type_qconfig(nn.Conv2d, None),
    ):
        assert weights(prepared(q)) == ["linear"]


def test_matmul_only_by_its_function():
    class Dot(nn.Module):
        def forward(self, x, y):
            return pt2q.matmul(x, y)

    inputs = (pt2q.randn(3, 4), pt2q.randn(4, 5))
    assert observed(prepared(x86(), Dot(), *inputs))["matmul"] == [False, False]
    q = x86().set_function_type_qconfig(pt2q.matmul, STATIC)
    assert observed(prepared(q, Dot(), *inputs))["matmul"] == [True, True]


def test_unknown_types_warn_and_change_nothing():
    with pytest.warns(UserWarning, match="function: Unable to customize quantization config for"):
        q = X86InductorQuantizer().set_function_type_qconfig(pt2q.sigmoid, STATIC)
    with pytest.warns(UserWarning, match="Module: Unable to customize quantization config for"):
        q.set_module_type_qconfig(nn.Sigmoid, STATIC)
    assert weights(prepared(q)) == []


@pytest.mark.parametrize("other", [{"is_qat": True}, {"is_dynamic": True}])
def test_mixed_modes_are_skipped(other):
    config = get_default_x86_inductor_quantization_config(**other)
    kind = "QAT and Non-QAT" if "is_qat" in other else "dynamic and static"
    with pytest.warns(UserWarning) as seen:
        q = x86().set_function_type_qconfig(F.conv2d, config).set_module_name_qconfig("fc", config)
    texts = [str(w.message) for w in seen]
    assert sum(f"Mixed {kind} quantization config is not supported." in t for t in texts) == 2
    assert any(t.startswith("Skip the quantization config for fc.") for t in texts)
    with pytest.warns(UserWarning, match="Skip the global quantization config."):
        q.set_global(config)
    assert q.get_global_quantization_config() is STATIC


def test_float16_weights_of_linears():
    q = X86InductorQuantizer().set_function_type_qconfig(
        F.linear, get_x86_inductor_linear_dynamic_fp16_config()
    )
    model = convert_pt2e(prepared(q))
    names = [n.name for n in model.graph.nodes]
    # To float16 and back, for the weight of the only linear.
    assert [n for n in names if n.startswith("convert_element_type")] == [
        "convert_element_type_no_fuse",
        "convert_element_type_no_fuse_1",
    ]
    assert not any(n.startswith("quantize_") for n in names)


# --- patterns of module names ----------------------------------------------------------------------


def test_patterns_name_many_modules():
    inside = get_module_name_filter("layer*.conv1")
    assert [n.name for n in exported().graph.nodes if inside(n)] == ["conv2d", "conv2d_2"]
    q = x86().set_module_name_qconfig("layer*.conv1", None)
    assert weights(prepared(q)) == ["conv2d_1", "conv2d_3", "linear"]
    q = XNNPACKQuantizer().set_module_name("layer[2-9].*", get_symmetric_quantization_config())
    assert weights(prepared(q)) == ["conv2d_2", "conv2d_3"]
    q = X86InductorQuantizer().set_module_name_qconfig("layer?", STATIC)
    assert weights(prepared(q)) == ["conv2d", "conv2d_1", "conv2d_2", "conv2d_3"]


def test_names_without_wildcards_are_exact():
    assert weights(prepared(X86InductorQuantizer().set_module_name_qconfig("layer", STATIC))) == []


# --- activations left in float ---------------------------------------------------------------------


def quantizers():
    config = get_symmetric_quantization_config()
    arm = get_default_arm_inductor_quantization_config()
    return {
        "x86": (x86(), "set_module_name_qconfig"),
        "arm": (ArmInductorQuantizer().set_global(arm), "set_module_name_qconfig"),
        "xnnpack": (XNNPACKQuantizer().set_global(config), "set_module_name"),
    }


@pytest.mark.parametrize("name", list(quantizers()))
def test_activation_of_one_site_stays_float(name):
    plain = observed(prepared(quantizers()[name][0]))
    quantizer, setter = quantizers()[name]
    assert getattr(quantizer, setter)("layer1.relu", None, activation_only=True) is quantizer
    model = prepared(quantizer)
    found = observed(model)
    assert plain["conv2d_1"] == [True, True]
    assert found["conv2d_1"] == [False, True]  # reads the site's tensor in float, with int8 weights
    assert {k: v for k, v in found.items() if k != "conv2d_1"} == {
        k: v for k, v in plain.items() if k != "conv2d_1"
    }


@pytest.mark.parametrize("name", ["x86", "xnnpack"])
def test_what_shares_the_site_stays_float_too(name):
    quantizer, setter = quantizers()[name]
    model = prepared(getattr(quantizer, setter)("layer2.conv2", None, activation_only=True))
    found = observed(model)
    assert found["max_pool2d"] == [False]
    assert found["conv2d_3"] == [True, True]
    assert weights(model) == ["conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "linear"]


def test_a_wide_activation_no_longer_costs_accuracy():
    """One channel of a site is 1000 times larger than the others, though nobody reads it."""
    pt2q.manual_seed(3)
    net = Net().eval()
    weight = net.layer1.conv1.weight
    weight.copy_(pt2q.cat([weight[:1] * 1000, weight[1:]], 0))
    weight = net.layer1.conv2.weight
    weight.copy_(pt2q.cat([weight[:, :1] * 0, weight[:, 1:]], 1))
    x = pt2q.randn(4, 4, 8, 8)
    want = np.asarray(net(x))

    def error(quantizer):
        model = prepare_pt2e(exported(net, x), quantizer)
        model(x)
        return float(np.abs(np.asarray(convert_pt2e(model)(x)) - want).max())

    everything = error(x86())
    one_site = error(x86().set_module_name_qconfig("layer1.relu", None, activation_only=True))
    assert one_site < 0.5 * everything


def test_activation_only_needs_none_and_a_match():
    with pytest.raises(ValueError, match="activation_only=True leaves activations in float"):
        x86().set_module_name_qconfig("layer1", STATIC, activation_only=True)
    with pytest.raises(ValueError, match="activation_only=True leaves activations in float"):
        XNNPACKQuantizer().set_module_name(
            "layer1", get_symmetric_quantization_config(), activation_only=True
        )
    with pytest.warns(UserWarning, match="No operator lies inside a module named 'layer7'"):
        prepared(x86().set_module_name_qconfig("layer7", None, activation_only=True))


def test_own_quantizers_may_leave_activations_float():
    class Own(X86InductorQuantizer):
        def annotate(self, model):
            model = super().annotate(model)
            leave_activations_float(model, "layer*.relu")
            return model

    found = observed(prepared(Own().set_global(STATIC)))
    assert found["conv2d_1"] == [False, True]
    assert found["conv2d_3"] == [False, True]


# --- capabilities ----------------------------------------------------------------------------------


def test_capabilities_print_as_a_table():
    for quantizer in (
        X86InductorQuantizer(),
        XPUInductorQuantizer(),
        ArmInductorQuantizer(),
        XNNPACKQuantizer(),
        EmbeddingQuantizer(),
        ComposableQuantizer([EmbeddingQuantizer(), ArmInductorQuantizer()]),
    ):
        capabilities = quantizer.quantization_capabilities()
        assert isinstance(capabilities, QuantizationCapabilities)
        lines = str(capabilities).splitlines()
        assert lines[0].split() == ["mode", "operators", "input", "output", "weight", "bias"]
        assert len(lines) == 1 + sum(len(entry.operators) for entry in capabilities)


def lines_of(quantizer, *words):
    text = str(quantizer.quantization_capabilities())
    return [line.split() for line in text.splitlines() if all(w in line.split() for w in words)]


def test_capabilities_say_what_is_quantized_how():
    (line,) = lines_of(X86InductorQuantizer(), "static", "silu", "conv2d", "0..255")[:1]
    assert " ".join(line) == (
        "static conv2d + silu uint8 0..255 per_tensor_affine uint8 0..255 per_tensor_affine "
        "int8 -128..127 per_channel_symmetric axis 0 float"
    )
    assert "uint8 0..255 per_tensor_affine - -" in " ".join(lines_of(X86InductorQuantizer(), "max_pool2d")[0])
    assert lines_of(XPUInductorQuantizer(), "max_pool2d") == []
    assert lines_of(X86InductorQuantizer(), "float16", "linear")
    assert lines_of(ArmInductorQuantizer(), "conv2d", "per_tensor_symmetric")
    assert lines_of(EmbeddingQuantizer(), "embedding", "per_channel_affine_float_qparams")


@pytest.mark.parametrize("quantizer", [X86InductorQuantizer, XPUInductorQuantizer, ArmInductorQuantizer])
def test_inductor_quantizers_answer_pytorchs_queries(quantizer):
    configs = quantizer.get_supported_quantization_configs()
    capabilities = quantizer().quantization_capabilities()
    assert configs == [entry.config for entry in capabilities]
    for entry in capabilities:
        assert quantizer.get_supported_operator_for_quantization_config(entry.config) == entry.operators
    every = quantizer.get_supported_operator_for_quantization_config(None)
    assert len(every) == sum(len(entry.operators) for entry in capabilities)


def test_patterns_in_the_table_are_really_quantized():
    """Each unary activation that X86 names behind a convolution or linear is taken into the pattern."""
    modules = {
        "relu": nn.ReLU, "hardtanh": nn.Hardtanh, "hardswish": nn.Hardswish, "relu6": nn.ReLU6,
        "silu": nn.SiLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh, "gelu": nn.GELU,
    }  # fmt: skip
    patterns = {tuple(p) for p in X86InductorQuantizer().quantization_capabilities()[0].operators}
    pairs = [p for p in patterns if len(p) == 2 and "batch_norm" not in p[1] and "add" not in p[1]]
    assert len(pairs) == 10
    for root, activation in pairs:
        act = modules[activation.split(".")[1]]()
        dims = {"conv1d": (2, 4, 8), "conv2d": (2, 4, 8, 8), "linear": (2, 4)}[root.split(".")[1]]
        first = {3: nn.Conv1d, 4: nn.Conv2d}.get(len(dims))
        net = nn.Sequential(first(4, 4, 3) if first else nn.Linear(4, 4), act)
        model = prepared(x86(), net, pt2q.randn(*dims))
        last = [n for n in model.graph.nodes if n.op == "call_function"][-1]
        assert last.meta["quantization_annotation"]._annotated, (root, activation)
