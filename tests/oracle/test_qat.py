"""prepare_qat_pt2e and convert_pt2e against torchao: node names and order, fake-quantizes, parameters
after the same forward passes, converted graphs and outputs."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from bridge import assert_same, to_torch
from peer import observers
from qat_nets import BlockAndLinear, ConvBn, Sigmoid, seeded
from qat_pairs import Ours, Peer, assert_same_converted, assert_same_states, lines, prepared_pair
from torch import nn
from torchao.quantization.pt2e import quantize_pt2e as torch_flow
from torchao.testing.pt2e import _xnnpack_quantizer as torch_xnnpack

from pt2q.ao.quantization import quantize_pt2e
from pt2q.ao.quantization.quantizer import xnnpack_quantizer
from pt2q.interop import torch as bridge

warnings.filterwarnings("ignore")


# One configuration each: the peer takes seconds to prepare and to convert.
CASES = [
    ("conv1d", "xnnpack"),
    ("conv1d without bias", "xnnpack per channel"),
    ("conv2d", "x86"),
    ("conv2d without bias", "xnnpack"),
    ("conv2d without relu", "x86"),
    ("conv2d literal arguments", "xnnpack per channel"),
    ("transposed 1d", "xnnpack per channel"),
    ("transposed 2d without bias", "xnnpack"),
    ("residual block", "x86"),
    ("two branches", "xnnpack"),
    ("inverted residual", "x86"),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_graphs_parameters_and_outputs_are_the_peers(name, kind):
    theirs, ours, x = prepared_pair(seeded(name), kind)
    assert lines(ours.graph) == lines(theirs.graph)
    assert observers(ours) == observers(theirs)

    module = bridge.to_torch(ours)
    for scale in (1.0, 1.7):
        want, got = theirs(x * scale), ours((x * scale).numpy())
        assert torch.equal(module(x * scale), want)  # the same PyTorch kernels in the same order
        # Same formula in float32; sums of the convolution are taken in another order.
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=2e-4, atol=2e-4)
    assert_same_states(module, theirs)
    compare_states(ours, theirs)

    bridge.load_back(ours, module)
    want, got = torch_flow.convert_pt2e(theirs), quantize_pt2e.convert_pt2e(ours)
    assert_same_converted(got, want)
    np.testing.assert_allclose(got(x.numpy()), want(x).detach().numpy(), atol=0.1)


def compare_states(ours, theirs):
    mine = {k: to_torch(v) for k, v in ours.state_dict().items()}
    for key, value in theirs.state_dict().items():
        if "num_batches" in key:
            continue
        if key.endswith("zero_point"):
            assert (mine[key] - value).abs().max() <= 1, key  # the minimum may lie on a tie
        else:
            torch.testing.assert_close(mine[key], value, rtol=2e-4, atol=2e-5, msg=key)


@pytest.mark.parametrize("transposed", [False, True])
def test_prepared_output_is_the_conv_bn_formula(transposed):
    """With fake-quantizes off: the eager formula, and so the float model itself."""
    module = ConvBn(2, relu=False, transposed=transposed)
    _, ours, x = prepared_pair(module, "xnnpack")
    torch_module = bridge.to_torch(ours)
    torch_module.apply(torch.ao.quantization.disable_fake_quant)
    torch_module.apply(torch.ao.quantization.disable_observer)
    want = copy.deepcopy(module)(x)
    torch.testing.assert_close(torch_module(x), want, rtol=1e-4, atol=1e-5)


def test_eps_and_momentum_of_the_model_are_kept():
    module = ConvBn(2)
    module.bn.eps, module.bn.momentum = 0.01, 0.3
    _, ours, _ = prepared_pair(module, "x86")
    bn = next(n for n in ours.graph.nodes if "batch_norm" in n.name)
    assert list(bn.args[5:8]) == [True, 0.3, 0.01]
    root = next(n for n in ours.graph.nodes if n.name == "add")
    assert root.args[1] == 0.01


# --- quantizers of the user's: derived bias, shared specs --------------------------------------------


def own_quantizer(lib, derived_bias: bool):
    fake = lib.FusedMovingAvgObsFakeQuantize.with_args(observer=lib.MovingAverageMinMaxObserver)
    act = lib.QuantizationSpec(
        dtype=lib.uint8, observer_or_fake_quant_ctr=fake, quant_min=0, quant_max=255, qscheme=lib.per_tensor_affine
    )
    weight = lib.QuantizationSpec(
        dtype=lib.int8, observer_or_fake_quant_ctr=fake, quant_min=-127, quant_max=127, qscheme=lib.per_tensor_symmetric
    )

    def derive(observers):
        scale = observers[0].calculate_qparams()[0] * observers[1].calculate_qparams()[0]
        return scale, lib.zeros(1, dtype=lib.int32)

    class OwnQuantizer(lib.Quantizer):
        def annotate(self, model):
            for n in model.graph.nodes:
                if "conv2d" in str(n.target):
                    self.annotate_conv(n)
                if "relu" in str(n.target):
                    conv = next(m for m in model.graph.nodes if "conv2d" in str(m.target))
                    shared = lib.SharedQuantizationSpec((conv.args[0], conv))
                    n.meta["quantization_annotation"] = lib.QuantizationAnnotation(
                        output_qspec=act if derived_bias else shared, _annotated=True
                    )
            return model

        def annotate_conv(self, conv):
            x, w, b = conv.args[:3]
            specs = {x: act, w: weight}
            if derived_bias:
                specs[b] = lib.DerivedQuantizationSpec(
                    derived_from=[(x, conv), (w, conv)],
                    derive_qparams_fn=derive,
                    dtype=lib.int32,
                    quant_min=-(2**31),
                    quant_max=2**31 - 1,
                    qscheme=lib.per_tensor_symmetric,
                )
            else:
                specs[b] = None
            conv.meta["quantization_annotation"] = lib.QuantizationAnnotation(input_qspec_map=specs, _annotated=True)

        def validate(self, model):
            pass

    return OwnQuantizer()


@pytest.mark.parametrize("derived_bias", [False, True], ids=["shared spec", "derived bias"])
def test_references_to_rewritten_nodes_follow_them(derived_bias):
    module = seeded("conv2d").train()
    x = torch.randn(*module.shape)
    program = torch.export.export(module, (x,))
    theirs = torch_flow.prepare_qat_pt2e(program.module(), own_quantizer(Peer, derived_bias))
    ours = quantize_pt2e.prepare_qat_pt2e(bridge.from_exported(program).module(), own_quantizer(Ours, derived_bias))
    assert lines(ours.graph) == lines(theirs.graph)
    torch_module = bridge.to_torch(ours)
    theirs(x), torch_module(x)
    bridge.load_back(ours, torch_module)
    want, got = torch_flow.convert_pt2e(theirs), quantize_pt2e.convert_pt2e(ours)
    assert lines(got.graph) == lines(want.graph)
    pairs = zip(got.graph.nodes, [n for n in want.graph.nodes if "_guards_fn" not in n.name])
    for mine, peer in pairs:
        if "dequantize" in mine.name:
            assert list(mine.args[1:5]) == pytest.approx(list(peer.args[1:5]), rel=1e-6)
    np.testing.assert_allclose(got(x.numpy()), want(x).detach().numpy(), atol=0.05)


def fixed_and_wide(lib, fixed_spec):
    """Fixed parameters behind sigmoid; per-channel weights that stay int32."""
    act = lib.QuantizationSpec(
        lib.uint8,
        lib.FusedMovingAvgObsFakeQuantize.with_args(observer=lib.MovingAverageMinMaxObserver),
        0,
        255,
        qscheme=lib.per_tensor_affine,
    )
    weight = lib.QuantizationSpec(
        lib.int32,
        lib.FusedMovingAvgObsFakeQuantize.with_args(observer=lib.MovingAveragePerChannelMinMaxObserver),
        0,
        2**31 - 1,
        qscheme=lib.per_channel_affine,
        ch_axis=0,
    )
    fixed = fixed_spec(
        dtype=lib.uint8, scale=1 / 256, zero_point=0, quant_min=0, quant_max=255, qscheme=lib.per_tensor_affine
    )

    class Own(lib.Quantizer):
        def annotate(self, model):
            for n in model.graph.nodes:
                if "conv2d" in str(n.target):
                    maps = {n.args[0]: act, n.args[1]: weight}
                    n.meta["quantization_annotation"] = lib.QuantizationAnnotation(maps, None, _annotated=True)
                if "sigmoid" in str(n.target):
                    n.meta["quantization_annotation"] = lib.QuantizationAnnotation({}, fixed, _annotated=True)
            return model

        def validate(self, model):
            pass

    return Own()


def test_fixed_parameters_and_wide_weights_in_training():
    module = Sigmoid().train()
    x = torch.randn(*module.shape, generator=torch.Generator().manual_seed(4))
    program = torch.export.export(module, (x,))
    theirs = torch_flow.prepare_qat_pt2e(program.module(), fixed_and_wide(Peer, Peer.FixedQParamsQuantizationSpec))
    ours = bridge.from_exported(program).module()
    ours = quantize_pt2e.prepare_qat_pt2e(ours, fixed_and_wide(Ours, Ours.FixedQParamsQuantizationSpec))
    assert observers(ours) == observers(theirs)
    trained = bridge.to_torch(ours)
    assert torch.equal(trained(x), theirs(x))
    assert_same_states(trained, theirs)
    got = quantize_pt2e.convert_pt2e(bridge.load_back(ours, trained))
    want = torch_flow.convert_pt2e(theirs)
    fixed = [[list(n.args[1:5]) for n in m.graph.nodes if "dequantize_per_tensor" in str(n.target)] for m in (got, want)]
    assert fixed[0] == fixed[1] and [1 / 256, 0, 0, 255] in fixed[0]
    state = got.state_dict()
    for key, value in want.state_dict().items():
        if key.startswith(("_frozen", "_scale", "_zero")):
            assert_same(state[key], value)
    assert any(value.dtype == torch.int32 and value.dim() == 4 for value in want.state_dict().values())


def test_qat_of_one_part_then_post_training_quantization_of_the_other():
    torch.manual_seed(2)
    module = BlockAndLinear().train()
    x = torch.randn(*module.shape)
    program = torch.export.export(module, (x,))
    theirs, ours = program.module(), bridge.from_exported(program).module()
    for node in theirs.graph.nodes:
        if node.op == "get_attr":  # torchao's filter wants a module path of weights too (docs/supersets.md)
            node.meta["nn_module_stack"] = {"": (node.target.rpartition(".")[0].rpartition(".")[0], nn.Sequential)}
    config = [q.get_symmetric_quantization_config for q in (torch_xnnpack, xnnpack_quantizer)]
    qat = [
        q.XNNPACKQuantizer().set_module_name("block", c(is_qat=True))
        for q, c in zip((torch_xnnpack, xnnpack_quantizer), config, strict=True)
    ]
    theirs = torch_flow.prepare_qat_pt2e(theirs, qat[0])
    ours = quantize_pt2e.prepare_qat_pt2e(ours, qat[1])
    trained = bridge.to_torch(ours)
    theirs(x), trained(x)
    ours = quantize_pt2e.convert_pt2e(bridge.load_back(ours, trained))
    theirs = torch_flow.convert_pt2e(theirs)
    assert_same_converted(ours, theirs)

    for node in theirs.graph.nodes:  # ours empties them (docs/supersets.md); torchao would observe again
        node.meta.pop("quantization_annotation", None)
    ours = quantize_pt2e.prepare_pt2e(ours, xnnpack_quantizer.XNNPACKQuantizer().set_module_name("fc", config[1]()))
    theirs = torch_flow.prepare_pt2e(theirs, torch_xnnpack.XNNPACKQuantizer().set_module_name("fc", config[0]()))
    assert lines(ours.graph) == lines(theirs.graph)
    as_module = bridge.to_torch(ours)
    theirs(x), as_module(x)
    ours = quantize_pt2e.convert_pt2e(bridge.load_back(ours, as_module))
    theirs = torch_flow.convert_pt2e(theirs)
    assert_same_converted(ours, theirs)
    assert sum("dequantize" in n.name for n in ours.graph.nodes) == 7
    np.testing.assert_allclose(ours(x.numpy()), theirs(x).detach().numpy(), atol=0.05)
