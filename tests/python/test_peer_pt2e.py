"""What torchao's tests of prepare and convert check, on networks of our own (docs/peer_checks.md)."""

from __future__ import annotations

import io

import numpy as np
import pytest
from peer_nets import Fn, Observed, conv, count, counts, exported, flow, image, spelled

import pt2q
from pt2q import nn
from pt2q.ao.quantization.observer import (
    HistogramObserver,
    MinMaxObserver,
    PerChannelMinMaxObserver,
    default_weight_observer,
)
from pt2q.ao.quantization.pt2e.export_utils import (
    allow_exported_model_train_eval,
    move_exported_model_to_eval,
    move_exported_model_to_train,
)
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import (
    ComposableQuantizer,
    DerivedQuantizationSpec,
    EmbeddingQuantizer,
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)
from pt2q.ao.quantization.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from pt2q.nn import functional as F

ACT = QuantizationSpec(
    dtype=pt2q.int8, observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-12), quant_min=-128, quant_max=127,
    qscheme=pt2q.per_tensor_affine,
)  # fmt: skip
WEIGHT = QuantizationSpec(
    dtype=pt2q.int8, observer_or_fake_quant_ctr=default_weight_observer, quant_min=-127, quant_max=127,
    qscheme=pt2q.per_tensor_symmetric,
)  # fmt: skip
PER_CHANNEL = QuantizationSpec(
    dtype=pt2q.int8, observer_or_fake_quant_ctr=PerChannelMinMaxObserver, quant_min=-127, quant_max=127,
    qscheme=pt2q.per_channel_symmetric, ch_axis=0,
)  # fmt: skip


class By(Quantizer):
    """Annotates the operators of the given names: By(conv2d=lambda n: annotation)."""

    def __init__(self, **rules):
        super().__init__()
        self.rules = rules

    def annotate(self, model):
        for node in model.graph.nodes:
            if node.op != "call_function":
                continue
            rule = self.rules.get(str(node.target).split(".")[1] if "." in str(node.target) else "")
            if rule is not None:
                node.meta["quantization_annotation"] = rule(node)
        return model


def annotated(inputs, output=None, **kwargs):
    return QuantizationAnnotation(input_qspec_map=inputs, output_qspec=output, _annotated=True, **kwargs)


def weighted(output=ACT, weight=WEIGHT, bias=None):
    """Input, weight and bias of a convolution or linear."""

    def rule(node):
        inputs = dict(zip(node.all_input_nodes, [ACT, weight, bias]))
        return annotated(inputs, output)

    return rule


def nodes(model):
    return {n.name: n for n in model.graph.nodes}


def x86(**kwargs):
    return X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config(**kwargs))


def run_equal(model, net, x, tolerance):
    want = np.asarray(net(x))
    np.testing.assert_allclose(np.asarray(model(x)), want, atol=tolerance * max(1.0, np.abs(want).max()))


# --- a simple quantizer ------------------------------------------------------------------------------


def test_input_weight_and_output():
    _, model = flow(conv(), By(conv2d=weighted()), image())
    assert spelled(model) == "q dq conv2d q dq"
    assert count(model, "dq") == 3  # the weight's, too
    bias = nodes(model)["conv2d"].all_input_nodes[2]
    assert bias.op == "get_attr"


def test_outputs_without_a_spec_stay_float():
    net = nn.Sequential(conv(), conv())
    _, model = flow(net, By(conv2d=weighted(output=None)), image())
    assert spelled(model) == "q dq conv2d q dq conv2d"


def test_max_pool_shares_its_input():
    def pool(node):
        inputs = {node.args[0]: ACT}
        return annotated(inputs, SharedQuantizationSpec((node.args[0], node)))

    net = nn.Sequential(conv(), nn.MaxPool2d(1))
    seen, model = flow(net, By(conv2d=weighted(), max_pool2d=pool), image())
    assert spelled(model) == "q dq conv2d q dq max_pool2d q dq"
    assert seen.inputs["max_pool2d"][0] is seen.outputs["max_pool2d"] is seen.outputs["conv2d"]


def test_one_producer_several_readers_without_output_observer():
    def function(m, x):
        y = m.a(x)
        return m.b(y) + m.c(y)

    net = Fn(function, a=conv(), b=conv(), c=conv())
    seen, model = flow(net, By(conv2d=weighted(output=None)), image())
    assert seen.inputs["conv2d_1"][0] is seen.inputs["conv2d_2"][0]
    assert counts(model)[0] == 2  # x and y, each quantized once
    assert spelled(model).startswith("q dq conv2d q dq dq conv2d conv2d add")


# --- derived and fixed parameters --------------------------------------------------------------------


@pytest.mark.parametrize("per_channel", [False, True])
def test_bias_scale_is_the_product_of_input_and_weight_scale(per_channel):
    def derive(observers):
        (act, zero), (weight, _) = (o.calculate_qparams() for o in observers)
        del zero
        scale = pt2q.tensor(np.asarray(act) * np.asarray(weight))
        return scale, pt2q.tensor(np.zeros(scale.shape, np.int32))

    def rule(node):
        x, w, b = node.all_input_nodes
        bias = DerivedQuantizationSpec(
            derived_from=[(x, node), (w, node)], derive_qparams_fn=derive, dtype=pt2q.int32,
            quant_min=-(2**31), quant_max=2**31 - 1, ch_axis=0 if per_channel else None,
            qscheme=pt2q.per_channel_symmetric if per_channel else pt2q.per_tensor_symmetric,
        )  # fmt: skip
        return annotated({x: ACT, w: PER_CHANNEL if per_channel else WEIGHT, b: bias}, ACT)

    net, x = conv(), image()
    _, model = flow(net, By(conv2d=rule), x)
    dq_bias = nodes(model)["conv2d"].all_input_nodes[2]
    assert dq_bias.name.startswith("dequantize_per_channel" if per_channel else "dequantize_per_tensor")
    stored = model.state_dict()[str(dq_bias.args[0].target)]
    assert stored.dtype == pt2q.int32  # folded as int32
    dq_x, dq_w = nodes(model)["conv2d"].all_input_nodes[:2]
    value = lambda a: np.asarray(model.state_dict()[str(a.target)]) if hasattr(a, "op") else np.float32(a)  # noqa: E731
    np.testing.assert_allclose(value(dq_bias.args[1]), value(dq_x.args[1]) * value(dq_w.args[1]), rtol=1e-6)
    run_equal(model, net, x, 0.05)


SIGMOID = FixedQParamsQuantizationSpec(
    dtype=pt2q.uint8, scale=1.0 / 256, zero_point=0, quant_min=0, quant_max=255, qscheme=pt2q.per_tensor_affine
)


def test_fixed_parameters_of_sigmoid():
    def rule(node):
        return annotated({node.args[0]: SIGMOID}, SharedQuantizationSpec((node.args[0], node)))

    seen, model = flow(nn.Sigmoid(), By(sigmoid=rule), pt2q.rand(2, 3))
    assert seen.inputs["sigmoid"][0] is seen.outputs["sigmoid"]
    assert spelled(model) == "q dq sigmoid q dq"
    pairs = [n for n in model.graph.nodes if "quantize_per_tensor" in n.name]
    assert {tuple(n.args[1:5]) for n in pairs} == {(1.0 / 256, 0, 0, 255)}


def test_equal_fixed_specs_give_one_observer():
    """The output spec of a producer and the equal input spec of its consumer."""

    def producer(node):
        return annotated({node.args[0]: ACT}, SIGMOID)

    def consumer(node):
        return annotated({node.args[0]: SIGMOID}, ACT)

    net = Fn(lambda m, x: pt2q.sigmoid(x) + 1.0)
    seen, model = flow(net, By(sigmoid=producer, add=consumer), pt2q.rand(2, 3))
    assert seen.outputs["sigmoid"] is seen.inputs["add"][0]
    assert counts(model)[:2] == (3, 3)


# --- sharing -----------------------------------------------------------------------------------------


def share_with_first(node):
    first, *others = node.all_input_nodes
    shared = SharedQuantizationSpec((first, node))
    return annotated({first: ACT, **dict.fromkeys(others, shared)}, shared)


def test_shared_inputs_and_output():
    net = Fn(lambda m, x, y: pt2q.cat([m.a(x), m.b(y)]), a=conv(), b=conv())
    seen, model = flow(net, By(conv2d=weighted(), cat=share_with_first), image(), image())
    a, b = seen.inputs["cat"]
    assert a is b is seen.outputs["cat"]
    # All members of the group have equal parameters.
    around = list(nodes(model)["cat"].all_input_nodes) + list(nodes(model)["cat"].users)
    assert len({tuple(n.args[1:3]) for n in around}) == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_sharing_is_transitive(reverse):
    """x3 is in both concatenations: all tensors share one observer, whichever way the specs point."""

    def rule(node):
        inputs = node.all_input_nodes
        root, *others = reversed(inputs) if reverse else inputs
        shared = SharedQuantizationSpec((root, node))
        return annotated({i: ACT if i is root else shared for i in inputs}, shared)

    net = Fn(lambda m, a, b, c: (pt2q.cat([a, c]), pt2q.cat([c, b])))
    xs = [pt2q.randn(1, 5) for _ in range(3)]
    seen, _ = flow(net, By(cat=rule), *xs)
    everything = [*seen.inputs["cat"], *seen.inputs["cat_1"]]
    assert all(o is everything[0] and o is not None for o in everything)


@pytest.mark.parametrize("allowed", [False, True])
def test_implicit_sharing_can_be_refused(allowed):
    def rule(node):
        return annotated(dict.fromkeys(node.all_input_nodes, ACT), ACT, allow_implicit_sharing=allowed)

    net = Fn(lambda m, x, y: (x + y) + y)
    model = prepare_pt2e(exported(net, pt2q.randn(1, 5), pt2q.randn(1, 5)), By(add=rule))
    first, second = nodes(model)["add"], nodes(model)["add_1"]
    observer = lambda n: getattr(model, str(n.target))  # noqa: E731
    y_in_first, y_in_second = first.all_input_nodes[1], second.all_input_nodes[1]
    assert (observer(y_in_first) is observer(y_in_second)) is allowed
    # The result of the first addition: its output and the second's input.
    read = second.all_input_nodes[0]
    produced = next(u for u in first.users if u.op == "call_module")
    assert (observer(read) is observer(produced)) is allowed


def test_cycle_of_implicit_and_explicit_sharing_ends():
    """The output shares with the input edge of its own consumer."""

    def rule(node):
        user = next(iter(node.users))
        shared = SharedQuantizationSpec((node, user)) if user.op == "call_function" else ACT
        return annotated({node.args[0]: ACT}, shared)

    net = Fn(lambda m, x: pt2q.relu(pt2q.relu(x)))
    seen, model = flow(net, By(relu=rule), pt2q.randn(2, 3))
    assert seen.outputs["relu"] is seen.inputs["relu_1"][0]
    assert spelled(model) == "q dq relu q dq relu q dq"


def test_reference_to_an_edge_without_spec_is_named():
    def rule(node):
        x, w, b = node.all_input_nodes
        return annotated({x: SharedQuantizationSpec((b, node)), w: WEIGHT}, ACT)

    with pytest.raises(pt2q.Error, match="conv2d|bias"):
        prepare_pt2e(exported(conv(), image()), By(conv2d=rule))


# --- dtypes and arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [(pt2q.int16, -(2**15), 2**15 - 1), (pt2q.int32, -(2**31), 2**31 - 1), (pt2q.uint8, 0, 255)]
)
def test_dtypes_of_activations(dtype, low, high):
    spec = QuantizationSpec(
        dtype=dtype, observer_or_fake_quant_ctr=MinMaxObserver, quant_min=low, quant_max=high, qscheme=pt2q.per_tensor_affine
    )
    net, x = conv(), image()
    rule = lambda node: annotated({node.all_input_nodes[0]: spec}, spec)  # noqa: E731
    seen, model = flow(net, By(conv2d=rule), x)
    assert seen.inputs["conv2d"][0].dtype == dtype
    pairs = [n for n in model.graph.nodes if n.name.startswith("quantize_per_tensor")]
    assert [n.args[3:] for n in pairs] == [(low, high, dtype)] * 2
    run_equal(model, net, x, 0.03 if dtype == pt2q.uint8 else 1e-3)


def test_numbers_and_keywords_are_no_obstacle():
    """Arguments that are no tensors pass through, however they were written."""

    def rule(node):
        return annotated(dict.fromkeys(node.all_input_nodes, ACT), ACT)

    for function in (
        lambda m, x: pt2q.clamp(x, max=0.5),
        lambda m, x: pt2q.clamp(input=x, min=-0.5, max=0.5),
    ):
        _, model = flow(Fn(function), By(clamp=rule), pt2q.randn(2, 3))
        assert spelled(model) == "q dq clamp q dq"


# --- folding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_are_folded(per_channel):
    net = nn.Sequential(conv(), conv())
    x = image()
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=per_channel))
    prepared = prepare_pt2e(exported(net, x), quantizer)
    prepared(x)
    model = convert_pt2e(prepared)
    assert count(model, "wq") == 0
    for name, layer in (("conv2d", net[0]), ("conv2d_1", net[1])):
        dq = nodes(model)[name].all_input_nodes[1]
        weight = model.state_dict()[str(dq.args[0].target)]
        assert weight.dtype == pt2q.int8
        again = np.asarray(weight, np.float32)
        value = lambda a: np.asarray(model.state_dict()[str(a.target)]) if hasattr(a, "op") else np.float32(a)  # noqa: E731
        scale = value(dq.args[1]).reshape((-1, 1, 1, 1) if per_channel else ())
        want = np.clip(np.rint(np.asarray(layer.weight) * (np.float32(1) / scale)), -127, 127)
        np.testing.assert_array_equal(again, want)


def test_constants_of_others_are_not_folded():
    """A transposed table that nobody quantizes stays a computation on the stored table."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.table = conv(), nn.Parameter(pt2q.randn(8, 8))

        def forward(self, x):
            return self.conv(x) + pt2q.t(self.table)

    _, model = flow(Net(), By(conv2d=weighted()), image())
    assert "t" in spelled(model).split() or any(n.name == "t" for n in model.graph.nodes)
    assert "table" in model.state_dict()
    np.testing.assert_equal(tuple(model.state_dict()["table"].shape), (8, 8))


def test_everything_before_the_quantize_is_folded():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(pt2q.randn(4, 5))

        def forward(self, x):
            return F.linear(x, pt2q.t(self.weight))

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config())
    _, model = flow(Net(), quantizer, pt2q.randn(2, 4))
    names = [n.name for n in model.graph.nodes]
    assert "t" not in names
    assert nodes(model)["linear"].all_input_nodes[1].args[0].op == "get_attr"


def test_folded_weights_keep_where_they_came_from():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(conv())

        def forward(self, x):
            return self.inner(x)

    _, model = flow(Net(), x86(), image())
    conv_node = nodes(model)["conv2d"]
    stack = [path for path, _ in conv_node.meta["nn_module_stack"].values()]
    assert stack[-1] == "inner.0"
    dq = conv_node.all_input_nodes[1]
    assert [path for path, _ in dq.meta["nn_module_stack"].values()][-1:] == ["inner.0"]


def test_saved_and_loaded_models_agree_in_every_bit():
    x = image()
    _, model = flow(nn.Sequential(conv(), nn.ReLU(), conv()), x86(), x)
    file = io.BytesIO()
    pt2q.export.save(pt2q.export.export(model, (x,)), file)
    file.seek(0)
    again = pt2q.export.load(file).module()
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    # A state dict of a converted model goes into another converted model, too.
    state = io.BytesIO()
    pt2q.save(model.state_dict(), state)
    state.seek(0)
    other = flow(nn.Sequential(conv(), nn.ReLU(), conv()), x86(), x)[1]
    other.load_state_dict(pt2q.load(state))
    loaded = [np.asarray(v) for v in other.state_dict().values()]
    for a, b in zip(loaded, model.state_dict().values()):
        np.testing.assert_array_equal(a, np.asarray(b))


# --- several quantizers, transforms ------------------------------------------------------------------


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.conv, self.fc = nn.Embedding(10, 8), conv(1, 3), nn.Linear(8, 4)

    def forward(self, ids):
        x = self.emb(ids)
        return self.fc(self.conv(x.unsqueeze(1)))


def ids():
    return pt2q.tensor(np.arange(8, dtype=np.int64).reshape(2, 4) % 10)


def test_embeddings():
    x = ids()
    net = nn.Embedding(10, 8)
    _, model = flow(net, EmbeddingQuantizer(), x)
    assert spelled(model) == "embedding"
    dq = nodes(model)["embedding"].all_input_nodes[0]
    assert dq.name.startswith("dequantize_per_channel")
    assert model.state_dict()[str(dq.args[0].target)].dtype == pt2q.uint8
    run_equal(model, net, x, 0.01)


def test_quantizers_in_a_row():
    static = XNNPACKQuantizer().set_operator_type(pt2q.ops.aten.conv2d.default, get_symmetric_quantization_config(is_per_channel=True))
    dynamic = XNNPACKQuantizer().set_operator_type(pt2q.ops.aten.linear.default, get_symmetric_quantization_config(is_dynamic=True))
    quantizer = ComposableQuantizer([EmbeddingQuantizer(), static, dynamic])
    net, x = Table(), ids()
    _, model = flow(net, quantizer, x)
    assert spelled(model) == "embedding unsqueeze q dq conv2d q dq choose q dq linear"
    run_equal(model, net, x, 0.1)


def test_a_quantizer_may_not_touch_what_another_annotated():
    quantizer = ComposableQuantizer([By(conv2d=weighted()), By(conv2d=weighted(output=None))])
    with pytest.raises(RuntimeError, match="Quantizer By has changed annotations on node conv2d"):
        prepare_pt2e(exported(conv(), image()), quantizer)

    class Removing(Quantizer):
        def annotate(self, model):
            nodes(model)["conv2d"].meta.pop("quantization_annotation")
            return model

    with pytest.raises(RuntimeError, match="Quantizer Removing has removed annotations on node conv2d"):
        prepare_pt2e(exported(conv(), image()), ComposableQuantizer([By(conv2d=weighted()), Removing()]))


class ToMul(By):
    """Turns additions into multiplications before annotating."""

    def transform_for_annotation(self, model):
        for n in list(model.graph.nodes):
            if n.name == "add":
                with model.graph.inserting_after(n):
                    new = model.graph.call_function(pt2q.ops.aten.mul.Tensor, n.args)
                n.replace_all_uses_with(new)
                model.graph.erase_node(n)
        return model


@pytest.mark.parametrize("composed", [False, True])
def test_transform_comes_before_annotate(composed):
    rule = lambda node: annotated(dict.fromkeys(node.all_input_nodes, ACT), ACT)  # noqa: E731
    quantizer = ToMul(mul=rule)
    if composed:
        quantizer = ComposableQuantizer([quantizer, EmbeddingQuantizer()])
    net = Fn(lambda m, x, y: x + y)
    _, model = flow(net, quantizer, pt2q.rand(2, 3), pt2q.rand(2, 3))
    assert "mul" in spelled(model).split()
    assert "add" not in spelled(model).split()


def test_prepare_again_after_convert():
    x = image()
    net = nn.Sequential(conv(), nn.Flatten(), nn.Linear(3 * 64, 4))
    _, model = flow(net, By(conv2d=weighted()), x)
    before = count(model, "q")
    model = prepare_pt2e(model, By(linear=weighted()))
    model(x)
    model = convert_pt2e(model)
    assert count(model, "q") == before + 2
    assert spelled(model) == "q dq conv2d q dq flatten q dq linear q dq"
    run_equal(model, net, x, 0.1)


# --- batch norms -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "norm", "dims"),
    [
        (nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d, (2, 3, 6, 6)),
        (nn.Conv2d(3, 4, 3, padding="valid", bias=False), nn.BatchNorm2d, (2, 3, 6, 6)),
        (nn.Conv3d(3, 4, 3), nn.BatchNorm3d, (2, 3, 4, 4, 4)),
        (nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d, (2, 3, 4, 4)),
        (nn.ConvTranspose3d(3, 4, 3), nn.BatchNorm3d, (2, 3, 3, 3, 3)),
        (nn.Linear(3, 4), nn.BatchNorm1d, (5, 3)),
        (nn.Linear(3, 4, bias=False), nn.BatchNorm1d, (5, 3)),
    ],
    ids=repr,
)
def test_batch_norms_are_folded(layer, norm, dims):
    bn = norm(4).eval()
    rng = np.random.default_rng(0)
    bn.running_mean.copy_(pt2q.tensor(rng.normal(size=4).astype(np.float32)))
    bn.running_var.copy_(pt2q.tensor(rng.uniform(0.5, 2, 4).astype(np.float32)))
    net, x = nn.Sequential(layer, bn, nn.ReLU()), pt2q.randn(*dims)
    model = prepare_pt2e(exported(net, x), By())
    assert not any("batch_norm" in n.name for n in model.graph.nodes)
    # (x·w)·s against x·(w·s): rounded once more
    run_equal(model, net, x, 1e-5)


def test_linear_on_more_dimensions_keeps_its_batch_norm():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(5)), pt2q.randn(2, 5, 3)
    model = prepare_pt2e(exported(net, x), By())
    assert any(n.name == "batch_norm" for n in model.graph.nodes)
    run_equal(model, net, x, 1e-5)


def test_one_weight_with_two_batch_norms_gives_the_float_result():
    """A head applied to chunks: each copy has its own folded weights here (docs/supersets.md)."""

    def function(m, x):
        a, b = pt2q.chunk(x, 2, 0)
        return m.n1(m.a(a)) + m.n2(m.a(b))

    net, x = Fn(function, a=conv(), n1=nn.BatchNorm2d(3), n2=nn.BatchNorm2d(3)), image()
    net.eval()
    net.n2.running_mean.copy_(pt2q.tensor(np.float32([1, 2, 3])))
    model = prepare_pt2e(exported(net, x), By())
    run_equal(model, net, x, 1e-5)


# --- train and eval ----------------------------------------------------------------------------------


@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_follows_the_mode(inplace):
    net = Fn(lambda m, x: m.d(x), d=nn.Dropout(0.5, inplace=inplace))
    model = pt2q.export.export(net.train(), (pt2q.ones(100),)).module()
    dropout = next(n for n in model.graph.nodes if n.name.startswith("dropout"))
    assert move_exported_model_to_eval(model) is model
    assert dropout.args[1:] == (0.5, False)
    np.testing.assert_array_equal(np.asarray(model(pt2q.ones(100))), 1)
    move_exported_model_to_train(model)
    assert dropout.args[1:] == (0.5, True)
    assert set(np.unique(np.asarray(model(pt2q.ones(100))))) == {0.0, 2.0}


def test_batch_norm_follows_the_mode():
    net = nn.BatchNorm2d(3, eps=1e-3, momentum=0.3)
    model = pt2q.export.export(net.train(), (image(),)).module()
    norm = next(n for n in model.graph.nodes if "batch_norm" in n.name and n.op == "call_function")
    move_exported_model_to_eval(model)
    assert norm.args[5:8] == (False, 0.3, 1e-3)
    move_exported_model_to_train(model)
    assert norm.args[5:8] == (True, 0.3, 1e-3)


def test_train_is_refused_until_allowed():
    stages = [exported(nn.Sequential(conv(), nn.Dropout(0.5)), image())]
    stages.append(prepare_pt2e(exported(nn.Sequential(conv(), nn.Dropout(0.5)), image()), x86()))
    stages.append(flow(nn.Sequential(conv(), nn.Dropout(0.5)), x86(), image())[1])
    for model in stages:
        with pytest.raises(NotImplementedError, match="allow_exported_model_train_eval"):
            model.train()
        for _ in range(2):  # once more changes nothing
            assert allow_exported_model_train_eval(model) is model
        dropout = next(n for n in model.graph.nodes if n.name.startswith("dropout"))
        model.train()
        assert dropout.args[2] is True
        model.eval()
        assert dropout.args[2] is False
        model.train(False)
        assert dropout.args[2] is False


# --- in-place operators ------------------------------------------------------------------------------


def test_in_place_additions():
    def function(m, x):
        y = m.a(x)
        y += 1.0
        y.relu_()
        return m.b(y)

    net, x = Fn(function, a=conv(), b=conv()), image()
    rule = lambda node: annotated(dict.fromkeys(node.all_input_nodes, ACT), ACT)  # noqa: E731
    seen, model = flow(net, By(conv2d=weighted(), add=rule), x)
    assert all(o is not None for o in seen.inputs["conv2d_1"][:2]) or seen.inputs["conv2d_1"][1] is not None
    run_equal(model, net, x, 0.1)


def test_prepared_models_compute_what_the_float_model_does():
    """Observers change nothing, whatever is observed."""
    net, x = nn.Sequential(conv(), nn.ReLU(), conv()), image()
    model = prepare_pt2e(exported(net, x), x86())
    run_equal(model, net, x, 1e-6)
    assert isinstance(Observed(model).inputs["conv2d"][0], HistogramObserver)


# --- one dequantize per reader -----------------------------------------------------------------------


def test_no_copy_where_one_reader_needs_none():
    _, model = flow(nn.Sequential(conv(), conv()), By(conv2d=weighted()), image())
    for n in model.graph.nodes:
        if n.name.startswith("dequantize"):
            assert len(n.users) == 1


def test_every_annotated_reader_has_its_own_dequantize():
    def function(m, x):
        y = m.a(x)
        return m.b(y), m.c(y), y * 2.0

    net = Fn(function, a=conv(), b=conv(), c=conv())
    _, model = flow(net, By(conv2d=weighted()), image())
    b, c, mul = (nodes(model)[n].all_input_nodes[0] for n in ("conv2d_1", "conv2d_2", "mul"))
    assert b is not c
    assert b.args[0] is c.args[0]  # one quantize
    assert mul is not b
    assert mul is not c
    assert mul.name.startswith("dequantize")


def test_readers_with_other_specs_have_their_own_pair():
    narrow = QuantizationSpec(
        dtype=pt2q.int8, observer_or_fake_quant_ctr=MinMaxObserver, quant_min=-64, quant_max=63, qscheme=pt2q.per_tensor_affine
    )

    def pool(node):
        return annotated({node.args[0]: narrow}, SharedQuantizationSpec((node.args[0], node)))

    def function(m, x):
        y = m.a(x)
        return m.b(y), m.p(y)

    net = Fn(function, a=conv(), b=conv(), p=nn.AdaptiveAvgPool2d(2))
    seen, model = flow(net, By(conv2d=weighted(), adaptive_avg_pool2d=pool), image())
    assert seen.inputs["adaptive_avg_pool2d"][0].quant_max == 63
    assert seen.inputs["adaptive_avg_pool2d"][0] is not seen.inputs["conv2d_1"][0]
    # y is quantized for everybody, then again, more coarsely, for the pool.
    chain = nodes(model)["adaptive_avg_pool2d"].all_input_nodes[0].args[0].all_input_nodes[0]
    assert chain.name.startswith("dequantize")
