"""Specs, annotations, built-in quantizers and quantizers written in Python."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import pt2q
from pt2q.ao.quantization.observer import HistogramObserver, MinMaxObserver, PlaceholderObserver
from pt2q.ao.quantization.pt2e.export_utils import (
    allow_exported_model_train_eval,
    model_is_exported,
    move_exported_model_to_train,
)
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import (
    ComposableQuantizer,
    DerivedQuantizationSpec,
    EmbeddingQuantizer,
    FixedQParamsQuantizationSpec,
    OperatorConfig,
    QuantizationAnnotation,
    QuantizationConfig,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
    annotate_input_qspec_map,
    annotate_output_qspec,
    get_module_name_filter,
    is_valid_annotation,
)
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)
from pt2q.ao.quantization.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)


def linear_model():
    """x → linear (module fc1) → relu → linear (module fc2)"""
    g = pt2q.fx.Graph()
    x = g.placeholder("x")
    x.meta["val"] = pt2q._core.TensorMeta([2, 4], pt2q.float32)
    w1 = g.get_attr("fc1.weight")
    w2 = g.get_attr("fc2.weight")
    a = g.create_node("call_function", "aten.linear.default", (x, w1), {}, "a")
    r = g.create_node("call_function", "aten.relu.default", (a,), {}, "r")
    b = g.create_node("call_function", "aten.linear.default", (r, w2), {}, "b")
    a.meta["nn_module_stack"] = {"fc1": ("fc1", "torch.nn.modules.linear.Linear")}
    b.meta["nn_module_stack"] = {"fc2": ("fc2", "torch.nn.modules.linear.Linear")}
    g.output(b)
    m = pt2q.fx.GraphModule(None, g)
    rng = np.random.default_rng(0)
    for name, shape in [("fc1.weight", (3, 4)), ("fc2.weight", (5, 3))]:
        m.register_parameter(name, pt2q.tensor(rng.standard_normal(shape).astype(np.float32)))
    m.recompile()
    return m


def spec(**changes):
    kwargs = {
        "dtype": pt2q.int8,
        "observer_or_fake_quant_ctr": MinMaxObserver.with_args(eps=2**-12),
        "quant_min": -128,
        "quant_max": 127,
        "qscheme": pt2q.per_tensor_affine,
    }
    return QuantizationSpec(**{**kwargs, **changes})


def nodes(model):
    return {n.name: n for n in model.graph.nodes}


# --- specs ---------------------------------------------------------------------------------------


def test_specs_are_frozen_values():
    assert spec() == spec()
    assert hash(spec()) == hash(spec())
    assert spec() != spec(quant_max=63)
    assert spec() != "text"
    with pytest.raises(AttributeError):
        spec().quant_min = 3
    text = repr(spec())
    assert text.startswith("QuantizationSpec(dtype=int8, observer_or_fake_quant_ctr=MinMaxObserver")
    assert "quant_min=-128" in text


def test_dataclass_tools_work():
    changed = dataclasses.replace(spec(), qscheme=pt2q.per_tensor_symmetric, ch_axis=1)
    assert changed.qscheme == pt2q.per_tensor_symmetric
    assert changed.ch_axis == 1
    assert changed.quant_min == -128
    assert [f.name for f in dataclasses.fields(spec())][:2] == [
        "dtype",
        "observer_or_fake_quant_ctr",
    ]
    config = get_default_x86_inductor_quantization_config()
    symmetric = dataclasses.replace(config, weight=None)
    assert symmetric.weight is None
    assert symmetric.input_activation == config.input_activation


def test_specs_check_their_arguments():
    with pytest.raises(ValueError, match="quant_min 5 must be <= quant_max 3"):
        spec(quant_min=5, quant_max=3)
    with pytest.raises(ValueError, match="Ch_axis is < 0"):
        spec(ch_axis=-1)
    with pytest.raises(TypeError):
        spec(observer_or_fake_quant_ctr=3)
    with pytest.raises(TypeError):
        SharedQuantizationSpec("a")
    with pytest.raises(TypeError):
        QuantizationAnnotation(output_qspec=3)


def test_annotation_is_a_mutable_record():
    m = linear_model()
    n = nodes(m)
    annotation = QuantizationAnnotation(input_qspec_map={n["x"]: spec()}, _annotated=True)
    annotation.input_qspec_map[n["r"]] = None
    annotation.output_qspec = SharedQuantizationSpec((n["x"], n["a"]))
    assert list(annotation.input_qspec_map) == [n["x"], n["r"]]
    assert annotation.input_qspec_map[n["x"]] == spec()
    assert annotation.input_qspec_map == {n["x"]: spec(), n["r"]: None}
    assert n["b"] not in annotation.input_qspec_map
    assert annotation.output_qspec.edge_or_node == (n["x"], n["a"])
    n["a"].meta["quantization_annotation"] = annotation
    assert n["a"].meta["quantization_annotation"]._annotated
    n["a"].meta["quantization_annotation"].input_qspec_map.clear()
    assert len(annotation.input_qspec_map) == 0
    assert not is_valid_annotation(None)
    assert is_valid_annotation(annotation)


def test_configs_are_values_and_cached():
    a = get_default_x86_inductor_quantization_config()
    assert a is get_default_x86_inductor_quantization_config()
    assert a == QuantizationConfig(a.input_activation, a.output_activation, a.weight, a.bias)
    assert a != get_default_x86_inductor_quantization_config(reduce_range=True)
    assert a.input_activation.quant_max == 255
    assert a.weight.ch_axis == 0
    dynamic = get_default_x86_inductor_quantization_config(is_dynamic=True)
    assert isinstance(dynamic.input_activation.observer_or_fake_quant_ctr(), PlaceholderObserver)
    assert isinstance(a.input_activation.observer_or_fake_quant_ctr(), HistogramObserver)


# --- quantizers in Python ------------------------------------------------------------------------


class ReluOutput(Quantizer):
    """Quantizes what relu gives."""

    def __init__(self, quant_max=127):
        super().__init__()
        self.quant_max = quant_max
        self.seen = []

    def annotate(self, model):
        for node in model.graph.nodes:
            if node.op == "call_function" and node.target == pt2q.ops.aten.relu.default:
                node.meta["quantization_annotation"] = QuantizationAnnotation(
                    output_qspec=spec(quant_max=self.quant_max), _annotated=True
                )
        return model

    def validate(self, model):
        self.seen.append("validate")

    def prepare_obs_or_fq_callback(self, model, edge_or_node_to_obs_or_fq):
        self.seen += [getattr(k, "name", k) for k in edge_or_node_to_obs_or_fq]


def test_a_quantizer_written_in_python():
    m = linear_model()
    quantizer = ReluOutput()
    m = prepare_pt2e(m, quantizer)
    assert quantizer.seen == ["validate", "r"]
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    m(x)
    m = convert_pt2e(m)
    names = [n.name for n in m.graph.nodes]
    r = names.index("r")
    assert names[r + 1 : r + 3] == ["quantize_per_tensor_default", "dequantize_per_tensor_default"]
    assert nodes(m)["quantize_per_tensor_default"].args[3:5] == (-128, 127)


def test_the_callback_may_replace_observers():
    class Replacing(ReluOutput):
        def prepare_obs_or_fq_callback(self, model, edge_or_node_to_obs_or_fq):
            for key in edge_or_node_to_obs_or_fq:
                edge_or_node_to_obs_or_fq[key] = HistogramObserver(dtype=pt2q.uint8)

    m = prepare_pt2e(linear_model(), Replacing())
    assert isinstance(m.activation_post_process_0, HistogramObserver)


def test_a_python_observer_in_a_spec():
    class Doubling(MinMaxObserver):
        def calculate_qparams(self):
            scale, zero_point = super().calculate_qparams()
            return scale * 2, zero_point

    class Own(Quantizer):
        def annotate(self, model):
            node = nodes(model)["r"]
            annotate_output_qspec(node, spec(observer_or_fake_quant_ctr=Doubling))
            annotate_input_qspec_map(nodes(model)["b"], node, spec())
            return model

    x = np.full((2, 4), 0.5, np.float32)
    results = []
    for quantizer in [ReluOutput(), Own()]:
        m = prepare_pt2e(linear_model(), quantizer)
        m(x)
        m = convert_pt2e(m)
        results.append(nodes(m)["quantize_per_tensor_default"].args[1])
    assert results[1] == np.float32(results[0]) * 2


def test_derived_and_fixed_specs_from_python():
    class Own(Quantizer):
        def annotate(self, model):
            n = nodes(model)
            annotate_input_qspec_map(n["a"], n["x"], spec())
            fixed = FixedQParamsQuantizationSpec(
                dtype=pt2q.uint8, scale=0.25, zero_point=3, quant_min=0, quant_max=255,
                qscheme=pt2q.per_tensor_affine,
            )
            annotate_output_qspec(n["r"], fixed)
            derived = DerivedQuantizationSpec(
                derived_from=[(n["x"], n["a"]), n["r"]],
                derive_qparams_fn=lambda obs: (
                    obs[0].calculate_qparams()[0] * obs[1].calculate_qparams()[0],
                    pt2q.tensor([0]),
                ),
                dtype=pt2q.int32,
                quant_min=-(2**31),
                quant_max=2**31 - 1,
                qscheme=pt2q.per_tensor_symmetric,
            )
            annotate_output_qspec(n["b"], derived)
            return model

    m = prepare_pt2e(linear_model(), Own())
    m(np.ones((2, 4), np.float32))
    m = convert_pt2e(m)
    n = nodes(m)
    scale_x = n["quantize_per_tensor_default"].args[1]
    assert n["quantize_per_tensor_default_1"].args[1:3] == (0.25, 3)
    assert n["quantize_per_tensor_default_2"].args[1] == np.float32(scale_x) * np.float32(0.25)


def test_a_class_derived_from_a_built_in_quantizer():
    class First(X86InductorQuantizer):
        def annotate(self, model):
            model = super().annotate(model)
            node = nodes(model)["b"]
            node.meta["quantization_annotation"] = QuantizationAnnotation(_annotated=True)
            return model

    quantizer = First().set_global(get_default_x86_inductor_quantization_config())
    assert isinstance(quantizer, First)
    m = prepare_pt2e(linear_model(), quantizer)
    assert [n.name for n in nodes(m)["b"].all_input_nodes] == ["r", "fc2_weight"]
    assert nodes(m)["a"].all_input_nodes[0].op == "call_module"


def test_errors_of_python_quantizers_arrive():
    class Broken(Quantizer):
        def annotate(self, model):
            raise KeyError("my mistake")

    with pytest.raises(KeyError, match="my mistake"):
        prepare_pt2e(linear_model(), Broken())

    class Empty(Quantizer):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define annotate"):
        prepare_pt2e(linear_model(), Empty())
    with pytest.raises(TypeError, match="Quantizer is needed"):
        prepare_pt2e(linear_model(), object())


# --- built-in quantizers ---------------------------------------------------------------------------


def quantized(model, quantizer):
    """Names of the linears whose weights are observed."""
    prepare_pt2e(model, quantizer)
    n = nodes(model)
    return [name for name in "ab" if n[name].all_input_nodes[1].op == "call_module"]


def test_x86_configuration():
    config = get_default_x86_inductor_quantization_config()
    assert quantized(linear_model(), X86InductorQuantizer().set_global(config)) == ["a", "b"]
    q = X86InductorQuantizer().set_global(config).set_module_name_qconfig("fc1", None)
    # relu carries no module path: the pair linear + relu is not inside fc1, the linear is.
    assert quantized(linear_model(), q) == ["b"]
    q = X86InductorQuantizer().set_function_type_qconfig(pt2q.nn.functional.linear, config)
    assert quantized(linear_model(), q) == ["a", "b"]
    q = X86InductorQuantizer().set_global(config).set_module_type_qconfig(pt2q.nn.Linear, None)
    assert quantized(linear_model(), q) == []
    with pytest.warns(UserWarning, match="Module: Unable to customize quantization config for Conv1d"):
        X86InductorQuantizer().set_module_type_qconfig(pt2q.nn.Conv1d, config)
    with pytest.warns(UserWarning, match="Skip the quantization config for fc1"):
        X86InductorQuantizer().set_global(config).set_module_name_qconfig(
            "fc1", get_default_x86_inductor_quantization_config(is_dynamic=True)
        )
    with pytest.warns(UserWarning, match="is currently invalid"):
        assert X86InductorQuantizer().get_global_quantization_config() is None


def test_xnnpack_configuration():
    config = get_symmetric_quantization_config()
    assert quantized(linear_model(), XNNPACKQuantizer().set_global(config)) == ["a", "b"]
    q = XNNPACKQuantizer().set_module_name("fc2", config)
    assert quantized(linear_model(), q) == ["b"]
    for q in [
        XNNPACKQuantizer().set_module_type(pt2q.nn.Linear, config),
        XNNPACKQuantizer().set_object_type(pt2q.nn.Linear, config),
        XNNPACKQuantizer().set_object_type(pt2q.nn.functional.linear, config),
        XNNPACKQuantizer().set_operator_type(pt2q.ops.aten.linear.default, config),
    ]:
        assert quantized(linear_model(), q) == ["a", "b"]
    q = XNNPACKQuantizer().set_operator_type(pt2q.ops.aten.conv2d.default, config)
    assert quantized(linear_model(), q) == []
    q = XNNPACKQuantizer().set_global(config).set_filter_function(lambda n: n.name != "b")
    assert quantized(linear_model(), q) == ["a"]
    with pytest.raises(AssertionError, match="quantization_config == None is not supported yet"):
        XNNPACKQuantizer().set_module_name("fc1", None)


def test_capabilities():
    for q in [X86InductorQuantizer(), XNNPACKQuantizer(), EmbeddingQuantizer()]:
        entries = q.quantization_capabilities()
        assert entries
        assert all(isinstance(e, OperatorConfig) for e in entries)
        assert all(isinstance(e.config, QuantizationConfig) for e in entries)
    both = ComposableQuantizer([EmbeddingQuantizer(), XNNPACKQuantizer()])
    assert ["aten.embedding.default"] in both.quantization_capabilities()[0].operators
    config = get_symmetric_quantization_config()
    assert config in XNNPACKQuantizer.get_supported_quantization_configs()
    assert XNNPACKQuantizer.get_supported_operator_for_quantization_config(config)


def test_composable_names_the_offender():
    with pytest.raises(RuntimeError, match="Quantizer ReluOutput has changed annotations on node r"):
        prepare_pt2e(linear_model(), ComposableQuantizer([ReluOutput(), ReluOutput(63)]))
    config = get_default_x86_inductor_quantization_config(is_dynamic=True)
    m = prepare_pt2e(
        linear_model(),
        ComposableQuantizer([X86InductorQuantizer().set_module_name_qconfig("fc2", config)]),
    )
    assert len(m.state_dict()) > 0


def test_module_name_filter():
    m = linear_model()
    inside = get_module_name_filter("fc1")
    assert [n.name for n in m.graph.nodes if inside(n)] == ["a"]


# --- the flow --------------------------------------------------------------------------------------


def test_convert_checks_its_arguments():
    with pytest.raises(AssertionError, match="incoming model must be produced by prepare"):
        convert_pt2e(linear_model())
    with pytest.raises(ValueError, match="input model must be a GraphModule"):
        convert_pt2e(3)
    m = prepare_pt2e(linear_model(), ReluOutput())
    with pytest.raises(ValueError, match="use_reference_representation"):
        convert_pt2e(m, use_reference_representation=1)
    with pytest.raises(ValueError, match="requires fold_quantize=True"):
        convert_pt2e(m, fold_quantize=False, fold_quantize_into_mutable_buffers=True)
    with pytest.raises(ValueError, match="already prepared"):
        prepare_pt2e(m, ReluOutput())


def test_fold_quantize_is_optional():
    for fold in [True, False]:
        q = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
        m = prepare_pt2e(linear_model(), q)
        m(np.ones((2, 4), np.float32))
        m = convert_pt2e(m, fold_quantize=fold)
        assert nodes(m)["quantize_per_channel_default"].op == ("get_attr" if fold else "call_function")
        assert ("fc1.weight" in m.state_dict()) is not fold


def test_quantized_result_is_close_and_modes_are_guarded():
    m = linear_model()
    assert model_is_exported(m)
    x = np.random.default_rng(2).standard_normal((2, 4)).astype(np.float32)
    expected = np.asarray(m(x))
    q = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    m = prepare_pt2e(m, q)
    # Observers hand their input on: the prepared model computes the same.
    np.testing.assert_allclose(np.asarray(m(x)), expected, rtol=1e-6, atol=1e-6)
    m.eval()
    with pytest.raises(NotImplementedError, match="move_exported_model_to_train"):
        m.train()
    m = convert_pt2e(m)
    m.eval()
    # Two layers of 8 bits: well within 5 % of the largest value.
    assert np.max(np.abs(np.asarray(m(x)) - expected)) < 0.05 * np.max(np.abs(expected))
    allow_exported_model_train_eval(m).train()
    assert m.training
    assert not m.eval().training


def test_modes_keep_the_arguments_of_dropout():
    g = pt2q.fx.Graph()
    x = g.placeholder("x")
    x.meta["val"] = pt2q._core.TensorMeta([2, 4], pt2q.float32)
    d = g.create_node("call_function", "aten.dropout.default", (x, 0.3, False), {}, "d")
    g.output(d)
    m = move_exported_model_to_train(pt2q.fx.GraphModule(None, g))
    assert d.args[1:] == (0.3, True)
    assert m.training


@pytest.mark.parametrize("relu", [False, True])
def test_xnnpack_trains_a_batch_norm_with_and_without_activation(relu: bool) -> None:
    from pt2q.ao.quantization.quantize_pt2e import prepare_qat_pt2e
    from pt2q.ao.quantization.quantizer import xnnpack_quantizer as xq

    layers = [pt2q.nn.Conv2d(3, 4, 3), pt2q.nn.BatchNorm2d(4), *([pt2q.nn.ReLU()] if relu else [])]
    model = pt2q.nn.Sequential(*layers).train()
    exported = pt2q.export.export_for_training(model, (pt2q.randn(2, 3, 8, 8),)).module()
    quantizer = xq.XNNPACKQuantizer().set_global(xq.get_symmetric_quantization_config(is_qat=True))
    prepared = prepare_qat_pt2e(exported, quantizer)
    fakes = [n for n in prepared.graph.nodes if n.op == "call_module"]
    assert len(fakes) == 3  # input, weight, output of the pattern
