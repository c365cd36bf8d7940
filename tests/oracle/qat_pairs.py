"""The same model prepared for training by torchao and by pt2q, and what has to be equal."""

from __future__ import annotations

import qat_patterns  # noqa: F401 (torchao exports each pattern once)
import torch
import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as torch_x86
from bridge import assert_same
from torch import nn
from torchao.quantization.pt2e import quantize_pt2e as torch_flow
from torchao.testing.pt2e import _xnnpack_quantizer as torch_xnnpack

from pt2q.ao.quantization import quantize_pt2e
from pt2q.ao.quantization.quantizer import x86_inductor_quantizer, xnnpack_quantizer
from pt2q.interop import torch as bridge


def _quantizers(kind: str):
    """(torchao's, ours) of one configuration."""
    if kind == "x86":
        return [
            q.X86InductorQuantizer().set_global(q.get_default_x86_inductor_quantization_config(is_qat=True))
            for q in (torch_x86, x86_inductor_quantizer)
        ]
    per_channel = kind == "xnnpack per channel"
    return [
        q.XNNPACKQuantizer().set_global(q.get_symmetric_quantization_config(is_per_channel=per_channel, is_qat=True))
        for q in (torch_xnnpack, xnnpack_quantizer)
    ]


def prepared_pair(module: nn.Module, kind: str):
    """(torchao's, ours, the input) of a network of qat_nets.py; ``kind``: x86, xnnpack, xnnpack per channel."""
    x = torch.randn(*module.shape)
    program = torch.export.export(module.train(), (x,))
    theirs, ours = _quantizers(kind)
    mine = bridge.from_exported(program).module()
    return (
        torch_flow.prepare_qat_pt2e(program.module(), theirs),
        quantize_pt2e.prepare_qat_pt2e(mine, ours),
        x,
    )


def lines(graph):
    """(name, opcode, target, inputs) of every node: first, by name, constants and what quantizes them
    (PyTorch puts them in front of the inputs), then the others in order. The batch counter and the check
    of the inputs, which ours lacks, are left out; copies of a dequantize count as one."""
    constants, front, rest = set(), [], []
    for n in graph.nodes:
        target = str(n.target)
        if "num_batches_tracked" in target or "add_." in target or "_guards_fn" in target:
            continue
        inputs = [a for a in n.args if hasattr(a, "op")] if n.op != "output" else []
        observes = n.op == "call_module" or "quantize" in target
        row = (_name_of(n), n.op, target, [_name_of(a) for a in inputs])
        if n.op == "get_attr" or (observes and all(a.name in constants for a in inputs)):
            constants.add(n.name)
            front.append(row)
        elif row not in rest:
            rest.append(row)
    return sorted(front) + rest


def _name_of(node) -> str:
    if "dequantize" in str(node.target):
        return f"dequantize of {node.args[0].name}"
    return node.name


def assert_same_states(module, theirs):
    """Parameters, statistics, ranges, scales and zero points: bit for bit."""
    mine = module.state_dict()
    for key, value in theirs.state_dict().items():
        assert torch.equal(mine[key].to(value.dtype), value), key


def assert_same_converted(got, want):
    """The same nodes; scales, zero points and quantized weights are equal exactly."""
    assert lines(got.graph) == lines(want.graph)
    assert not any("batch_norm" in str(n.target) for n in got.graph.nodes)
    peers = {n.name: n for n in want.graph.nodes}
    for node in got.graph.nodes:
        if "quantize_per_tensor" in str(node.target):
            assert list(node.args[1:5]) == list(peers[node.name].args[1:5]), node.name
    state = got.state_dict()
    for key, value in want.state_dict().items():
        if key.startswith(("_frozen", "_scale", "_zero")):
            assert_same(state[key], value)


class Peer:
    from torch import int8, int32, per_channel_affine, per_channel_symmetric, per_tensor_affine, per_tensor_symmetric
    from torch import uint8, zeros
    from torchao.quantization.pt2e import (
        FusedMovingAvgObsFakeQuantize,
        MovingAverageMinMaxObserver,
        MovingAveragePerChannelMinMaxObserver,
    )
    from torchao.quantization.pt2e.quantizer import (
        DerivedQuantizationSpec,
        FixedQParamsQuantizationSpec,
        QuantizationAnnotation,
        QuantizationSpec,
        Quantizer,
        SharedQuantizationSpec,
    )


class Ours:
    from pt2q import int8, int32, per_channel_affine, per_channel_symmetric, per_tensor_affine, per_tensor_symmetric
    from pt2q import uint8, zeros
    from pt2q.ao.quantization.fake_quantize import FusedMovingAvgObsFakeQuantize
    from pt2q.ao.quantization.observer import MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
    from pt2q.ao.quantization.quantizer import (
        DerivedQuantizationSpec,
        FixedQParamsQuantizationSpec,
        QuantizationAnnotation,
        QuantizationSpec,
        Quantizer,
        SharedQuantizationSpec,
    )
