"""The "how to write a Quantizer" tutorial, as a test.

A backend with int8 conv2d (+ relu), add and max_pool2d: operators are found in the graph and given
annotations; the bias is int32 with a scale derived from input and weight; max_pool2d shares its
input's observer; the second input of add shares the first one's. Then the result is run in integers.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pt2q as torch
from pt2q.ao.quantization.observer import (
    HistogramObserver,
    PerChannelMinMaxObserver,
    default_weight_observer,
)
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import (
    DerivedQuantizationSpec,
    EdgeOrNode,
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

act_quantization_spec = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_affine,
    is_dynamic=False,
    observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-12),
)
weight_quantization_spec = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
    is_dynamic=False,
    observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=2**-12),
)


def derive_bias_qparams(obs_or_fqs):
    """scale = input scale * weight scale, zero point 0."""
    assert len(obs_or_fqs) == 2
    act_scale, _ = obs_or_fqs[0].calculate_qparams()
    weight_scale, _ = obs_or_fqs[1].calculate_qparams()
    return act_scale * weight_scale, torch.zeros(weight_scale.shape, dtype=torch.int64)


class BackendQuantizer(Quantizer):
    def annotate(self, model):
        for node in model.graph.nodes:
            if node.op != "call_function" or "quantization_annotation" in node.meta:
                continue
            if node.target == torch.ops.aten.conv2d.default:
                self._annotate_conv(node)
            elif node.target == torch.ops.aten.add.Tensor:
                self._annotate_add(node)
            elif node.target == torch.ops.aten.max_pool2d.default:
                self._annotate_max_pool(node)
            elif node.target == torch.ops.aten.sigmoid.default:
                self._annotate_sigmoid(node)
        return model

    def _annotate_conv(self, conv):
        act, weight, bias = conv.args[0], conv.args[1], conv.args[2]
        bias_spec = DerivedQuantizationSpec(
            derived_from=[(act, conv), (weight, conv)],
            derive_qparams_fn=derive_bias_qparams,
            dtype=torch.int32,
            quant_min=-(2**31),
            quant_max=2**31 - 1,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
        users = list(conv.users)
        relu = users[0] if len(users) == 1 else None
        fused = relu is not None and relu.target == torch.ops.aten.relu.default
        conv.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map={act: act_quantization_spec, weight: weight_quantization_spec, bias: bias_spec},
            output_qspec=None if fused else act_quantization_spec,
            _annotated=True,
        )
        if fused:
            relu.meta["quantization_annotation"] = QuantizationAnnotation(
                output_qspec=act_quantization_spec, _annotated=True
            )

    def _annotate_add(self, add):
        first, second = add.args[0], add.args[1]
        shared = SharedQuantizationSpec((first, add))
        add.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map={first: act_quantization_spec, second: shared},
            output_qspec=act_quantization_spec,
            _annotated=True,
        )

    def _annotate_max_pool(self, pool):
        edge: EdgeOrNode = (pool.args[0], pool)
        pool.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map={pool.args[0]: act_quantization_spec},
            output_qspec=SharedQuantizationSpec(edge),
            _annotated=True,
        )

    def _annotate_sigmoid(self, sigmoid):
        fixed = FixedQParamsQuantizationSpec(
            dtype=torch.uint8, quant_min=0, quant_max=255, qscheme=torch.per_tensor_affine, scale=1.0 / 256.0, zero_point=0
        )  # fmt: skip
        sigmoid.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map={sigmoid.args[0]: act_quantization_spec}, output_qspec=fixed, _annotated=True
        )

    def validate(self, model):
        pass


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(8, 8, 3, padding=1)
        self.relu = torch.nn.ReLU()
        self.pool = torch.nn.MaxPool2d(2)

    def forward(self, x):
        a = self.relu(self.conv1(x))
        b = self.pool(a + self.conv2(a))
        return torch.sigmoid(b)


def prepared():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    model = Net().eval()
    exported = torch.export.export(model, (x,)).module()
    want = exported(x)
    m = prepare_pt2e(exported, BackendQuantizer())
    m(x)
    return m, x, want


def calls(m, op):
    return [n for n in m.graph.nodes if n.op == "call_function" and n.target == op]


def test_the_tutorial_quantizer():
    m, x, want = prepared()
    observed = {n.name: n for n in m.graph.nodes if n.op == "call_module"}
    (add,) = calls(m, torch.ops.aten.add.Tensor)
    (pool,) = calls(m, torch.ops.aten.max_pool2d.default)
    (sigmoid,) = calls(m, torch.ops.aten.sigmoid.default)
    modules = [getattr(m, observed[a.name].target) for a in add.args[:2]]
    # relu feeds add and conv2; add's inputs share, so conv2's output is observed with them.
    assert modules[0] is modules[1]
    before, after = getattr(m, pool.args[0].target), getattr(m, next(iter(pool.users)).target)
    assert before is after
    assert type(getattr(m, next(iter(sigmoid.users)).target)).__name__ == "FixedQParamsObserver"

    m = convert_pt2e(m)
    conv = calls(m, torch.ops.aten.conv2d.default)[0]
    act, weight, bias = conv.args[:3]
    assert bias.target == torch.ops.quantized_decomposed.dequantize_per_channel.default
    assert bias.args[0].op == "get_attr"  # the bias is stored in int32
    assert str(bias.args[0].meta["val"].dtype).endswith("int32")
    product = np.float32(act.args[1]) * np.asarray(getattr(m, weight.args[1].target))
    np.testing.assert_array_equal(np.asarray(getattr(m, bias.args[1].target)), product)
    q = next(iter(next(iter(calls(m, torch.ops.aten.sigmoid.default))).users))
    assert q.args[1:5] == (1.0 / 256.0, 0, 0, 255)
    got = m(x)
    # Sigmoid's slope is at most 1/4; a few steps of 8 bits before it.
    assert np.abs(got - want).max() < 0.05


def test_it_composes_and_can_be_applied_again():
    """A second quantizer on the converted model leaves the first one's pairs alone."""
    m, x, _ = prepared()
    m = convert_pt2e(m)
    pairs = len(calls(m, torch.ops.quantized_decomposed.quantize_per_tensor.default))
    first = m(x)

    class Output(Quantizer):
        def annotate(self, model):
            (sigmoid,) = calls(model, torch.ops.aten.sigmoid.default)
            sigmoid.meta["quantization_annotation"] = QuantizationAnnotation(
                input_qspec_map={sigmoid.args[0]: act_quantization_spec}, _annotated=True
            )
            return model

    m = prepare_pt2e(m, Output())
    m(x)
    m = convert_pt2e(m)
    assert len(calls(m, torch.ops.quantized_decomposed.quantize_per_tensor.default)) == pairs + 1
    assert np.abs(m(x) - first).max() < 0.02


# --- mistakes ---------------------------------------------------------------------------------------


def annotating(fn):
    class Own(Quantizer):
        def annotate(self, model):
            fn(model, {n.name: n for n in model.graph.nodes})
            return model

    return Own()


def exported():
    x = np.zeros((2, 3, 8, 8), np.float32)
    return torch.export.export(Net().eval(), (x,)).module()


def prepare(fn):
    return prepare_pt2e(exported(), annotating(fn))


def annotate(node, inputs=None, output=None, **kwargs):
    node.meta["quantization_annotation"] = QuantizationAnnotation(inputs or {}, output, _annotated=True, **kwargs)


def test_references_to_what_is_not_annotated_are_named():
    def shared(model, n):
        annotate(n["relu"], output=SharedQuantizationSpec((n["conv2d"], n["relu"])))

    with pytest.raises(AssertionError, match="only refer to edge or node that has observer/fake_quant inserted"):
        prepare(shared)

    def derived(model, n):
        spec = DerivedQuantizationSpec([n["conv2d"]], derive_bias_qparams, torch.int32)
        annotate(n["relu"], output=spec)

    with pytest.raises(AssertionError, match="observer/fake_quant inserted"):
        prepare(derived)


def test_cycles_of_shared_specs_are_named():
    def cycle(model, n):
        annotate(n["relu"], {n["conv2d"]: SharedQuantizationSpec(n["relu"])}, SharedQuantizationSpec((n["conv2d"], n["relu"])))

    with pytest.raises(ValueError, match="refer to each other in a circle"):
        prepare(cycle)

    def itself(model, n):
        annotate(n["relu"], output=SharedQuantizationSpec(n["relu"]))

    with pytest.raises(ValueError, match="refer to each other in a circle"):
        prepare(itself)


def test_foreign_nodes_are_named():
    other = {n.name: n for n in exported().graph.nodes}

    def foreign_input(model, n):
        annotate(n["relu"], {other["conv2d"]: act_quantization_spec})

    with pytest.raises(ValueError, match="'conv2d'.*another graph"):
        prepare(foreign_input)

    def foreign_reference(model, n):
        annotate(n["relu"], output=SharedQuantizationSpec(other["relu"]))

    with pytest.raises(ValueError, match="another graph"):
        prepare(foreign_reference)

    def no_input(model, n):
        annotate(n["relu"], {n["x"]: act_quantization_spec})

    with pytest.raises(ValueError, match="'x' is not an input of 'relu'"):
        prepare(no_input)


def test_specs_that_do_not_fit_are_named():
    def wrong_scheme(model, n):
        spec = QuantizationSpec(torch.int8, default_weight_observer, qscheme=torch.per_channel_symmetric)
        annotate(n["relu"], output=spec)

    with pytest.raises(NotImplementedError, match="qscheme only support"):
        prepare(wrong_scheme)

    def wrong_range(model, n):
        annotate(n["relu"], output=QuantizationSpec(torch.int8, HistogramObserver, quant_min=1, quant_max=5))

    with pytest.raises(AssertionError, match="must include 0"):
        prepare(wrong_range)

    def wrong_dtype(model, n):
        annotate(n["relu"], output=QuantizationSpec(torch.float64, HistogramObserver))

    with pytest.raises(AssertionError, match="only works for"):
        prepare(wrong_dtype)

    def axis(model, n):
        spec = QuantizationSpec(torch.int8, PerChannelMinMaxObserver, qscheme=torch.per_channel_affine, ch_axis=7)
        annotate(n["relu"], output=spec)

    m = prepare(axis)
    with pytest.raises(IndexError, match="Dimension out of range"):
        m(np.zeros((2, 3, 8, 8), np.float32))
    with pytest.raises(TypeError, match="observer class or"):
        QuantizationSpec(torch.int8, HistogramObserver())
    with pytest.raises(TypeError, match="quantization spec"):
        annotate(next(iter(exported().graph.nodes)), output="int8")


def test_erased_nodes_are_named():
    def erased(model, use):
        n = {node.name: node for node in model.graph.nodes}
        with model.graph.inserting_after(n["x"]):
            gone = model.graph.call_function(torch.ops.aten.neg.default, (n["x"],))
        use(n["relu"], gone)
        model.graph.erase_node(gone)

    uses = (
        lambda relu, gone: annotate(relu, {gone: act_quantization_spec}),
        lambda relu, gone: annotate(relu, output=SharedQuantizationSpec(gone)),
    )
    for use in uses:
        with pytest.raises(ValueError, match="'relu' names 'neg_default', which was erased"):
            prepare(lambda model, n, use=use: erased(model, use))


def test_specs_refuse_what_no_observer_could_use():
    for error, text, facts in (
        (ValueError, "quant_min 5 must be <= quant_max 3", {"quant_min": 5, "quant_max": 3}),
        (ValueError, "Ch_axis is < 0", {"ch_axis": -1, "qscheme": torch.per_channel_affine}),
        (TypeError, "dtype", {"dtype": "int8"}),
    ):
        with pytest.raises(error, match=text):
            QuantizationSpec(**{"dtype": torch.int8, "observer_or_fake_quant_ctr": HistogramObserver, **facts})
    spec = QuantizationSpec(torch.int8, HistogramObserver, 0, 300)  # as in PyTorch, the observer refuses it
    with pytest.raises(AssertionError, match="maximum bit range"):
        prepare(lambda model, n: annotate(n["relu"], output=spec))


def returning(**methods):
    return type("Bad", (HistogramObserver,), methods)


@pytest.mark.parametrize(
    ("methods", "error", "text"),
    [
        ({"calculate_qparams": lambda self: (torch.tensor([-1.0]), torch.tensor([0]))}, ValueError, "scale -1 is not a positive"),
        ({"calculate_qparams": lambda self: (torch.tensor([np.nan]), torch.tensor([0]))}, ValueError, "scale nan is not a positive"),
        ({"calculate_qparams": lambda self: (torch.tensor([np.inf]), torch.tensor([0]))}, ValueError, "scale inf is not a positive"),
        ({"calculate_qparams": lambda self: (torch.ones(1), torch.tensor([0, 1]))}, ValueError, "zero point has the shape"),
        ({"calculate_qparams": lambda self: None}, TypeError, "must return the pair"),
        ({"calculate_qparams": lambda self: ("a", "b")}, TypeError, "expected float, got str"),
        ({"forward": lambda self, x: x.to(torch.int32)}, RuntimeError, "another tensor than its input"),
        ({"forward": lambda self, x: "x"}, TypeError, "must return a tensor, got str"),
        ({"forward": lambda self, x: (x, x)}, TypeError, "must return a tensor, got list"),
        ({"forward": lambda self, x: 1 / 0}, ZeroDivisionError, "division by zero"),
    ],
)
def test_what_an_observer_must_not_return(methods, error, text):
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    m = prepare(lambda model, n: annotate(n["relu"], output=QuantizationSpec(torch.int8, returning(**methods))))
    with pytest.raises(error, match=text):
        m(x)
        convert_pt2e(m)


class Shrinking(HistogramObserver):
    def forward(self, x):
        return x[:1]


class Forgetful(HistogramObserver):
    def forward(self, x):
        super().forward(x)


class TwoScales(HistogramObserver):
    def calculate_qparams(self):
        return torch.ones(2), torch.zeros(2, dtype=torch.int64)


class NoScale(HistogramObserver):
    def calculate_qparams(self):
        return torch.zeros(1), torch.zeros(1, dtype=torch.int64)


class NoPair(HistogramObserver):
    def calculate_qparams(self):
        return torch.ones(1)


@pytest.mark.parametrize(
    ("observer", "error", "text"),
    [
        (Shrinking, ValueError, "Shrinking.forward must return a tensor of the shape of its input"),
        (Forgetful, TypeError, "Forgetful.forward returned None"),
        (TwoScales, ValueError, "scale has the shape"),
        (NoScale, ValueError, "not a positive number"),
        (NoPair, TypeError, "must return the pair"),
    ],
)
def test_observers_that_return_nonsense_are_named(observer, error, text):
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    m = prepare(lambda model, n: annotate(n["relu"], output=QuantizationSpec(torch.int8, observer)))
    with pytest.raises(error, match=text):
        m(x)
        convert_pt2e(m)


def test_an_observer_may_convert_itself():
    class Own(HistogramObserver):
        def convert(self, model, observer_node):
            with model.graph.inserting_before(observer_node):
                doubled = model.graph.call_function(torch.ops.aten.mul.Tensor, (observer_node.args[0], 2.0))
            observer_node.replace_all_uses_with(doubled)
            model.graph.erase_node(observer_node)

    class Lazy(HistogramObserver):
        def convert(self, model, observer_node):
            pass

    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    m = prepare(lambda model, n: annotate(n["sigmoid"], output=QuantizationSpec(torch.int8, Own)))
    want = m(x)
    np.testing.assert_array_equal(convert_pt2e(m)(x), want * 2)
    m = prepare(lambda model, n: annotate(n["sigmoid"], output=QuantizationSpec(torch.int8, Lazy)))
    m(x)
    with pytest.raises(RuntimeError, match="left its node in the graph"):
        convert_pt2e(m)


class Counting(HistogramObserver):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def test_a_copied_model_keeps_observers_written_in_python():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    m = prepare(lambda model, n: annotate(n["relu"], output=QuantizationSpec(torch.int8, Counting)))
    m(x)
    other = copy.deepcopy(m)
    other.add_submodule("another", Counting())
    other(x)
    counts = [[o.calls for _, o in model.named_children()] for model in (m, other)]
    assert counts == [[1], [2, 0]]
    with pytest.raises(TypeError, match="needs an observer or a GraphModule"):
        other.add_submodule("number", 3)
