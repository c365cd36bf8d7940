"""convert_pt2e(use_reference_representation=True) against torchao's integer formulae, bit for bit.

torchao's formulae are Python functions; the quantized constants come from this project's own
quantize/dequantize graph of the same model.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from bridge import to_pt2q, to_torch
from torchao.quantization.pt2e import reference_representation_rewrite as theirs
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e as torch_convert
from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e as torch_prepare
from torchao.testing.pt2e import _xnnpack_quantizer as torch_xnnpack

import pt2q
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)

pytestmark = pytest.mark.filterwarnings("ignore")


class Linear(pt2q.nn.Module):
    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.f = pt2q.nn.Linear(16, 12, bias=bias)

    def forward(self, x: Any) -> Any:
        return self.f(x)


class Conv(pt2q.nn.Module):
    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.c = pt2q.nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2, bias=bias)

    def forward(self, x: Any) -> Any:
        return self.c(x)


class Add(pt2q.nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return x + y


class AddRelu(pt2q.nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return pt2q.nn.functional.relu(x + y)


class Pool(pt2q.nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return pt2q.nn.functional.max_pool2d(x + y, 3, 2, 1)


def quantized(model: Any, inputs: list[torch.Tensor], **config: bool) -> tuple[Any, Any]:
    """(the graph with q/dq operators, the graph in integers) of one calibrated model."""
    arrays = tuple(x.numpy() for x in inputs)
    out = []
    for reference in (False, True):
        gm = pt2q.export.export(model.eval(), arrays).module()
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(**config))
        gm = prepare_pt2e(gm, quantizer)
        for scale in (1.0, 0.6):
            gm(*[x * np.float32(scale) for x in arrays])
        out.append(convert_pt2e(gm, use_reference_representation=reference))
    return out[0], out[1]


def calls(gm: Any, name: str) -> list[Any]:
    return [n for n in gm.graph.nodes if n.op == "call_function" and name in str(n.target)]


def constant(gm: Any, node: Any) -> torch.Tensor:
    owner = gm
    for part in node.target.split("."):
        owner = getattr(owner, part)
    return to_torch(owner)


def params(node: Any) -> list[Any]:
    """scale, zero point, quant_min, quant_max as the one-element tensors torchao traces with."""
    scale, zp, lo, hi = node.args[1:5]
    return [torch.tensor([scale], dtype=torch.float32), torch.tensor([zp], dtype=torch.int), lo, hi]


def quantize(x: torch.Tensor, node: Any) -> torch.Tensor:
    scale, zp, lo, hi = node.args[1:5]
    return theirs._reference_quantize_per_tensor_int8(x, scale, zp, lo, hi)


def dequantize(q: torch.Tensor, node: Any) -> torch.Tensor:
    scale, zp, lo, hi = node.args[1:5]
    return theirs._reference_dequantize_per_tensor_int8(q, scale, zp, lo, hi)


def check(integers: Any, inputs: list[torch.Tensor], want: torch.Tensor) -> None:
    assert not calls(integers, "quantized_decomposed.quantize")
    assert not calls(integers, "quantized_decomposed.dequantize")
    got = integers(*[to_pt2q(x) for x in inputs])
    assert torch.equal(to_torch(got), want.to(torch.float32))


def inputs_for(seed: int, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=g) * (1 + i) for i, shape in enumerate(shapes)]


def weight_and_bias(qdq: Any, node: Any) -> tuple[torch.Tensor, list[Any], Any]:
    dq = node.args[1]
    bias = node.args[2] if len(node.args) > 2 else None
    return constant(qdq, dq.args[0]), params(dq), None if bias is None else constant(qdq, bias)


def without_bias(bias: Any) -> Any:
    return torch.zeros(1) if bias is None else bias


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_static_linear(bias, seed) -> None:
    x = inputs_for(seed, (9, 16))
    qdq, integers = quantized(Linear(bias), x)
    (node,) = calls(qdq, "aten.linear")
    w, wp, b = weight_and_bias(qdq, node)
    q_in, q_out = node.args[0].args[0], next(iter(node.users))
    xq = quantize(x[0], q_in)
    out = theirs._reference_quantized_linear(xq, *params(q_in), w, *wp, without_bias(b), *params(q_out))
    check(integers, x, dequantize(out, q_out))
    assert calls(integers, "aten.linear")[0].meta["val"].dtype == pt2q.int32


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_conv2d(bias, seed, monkeypatch) -> None:
    x = inputs_for(seed, (2, 6, 9, 8))
    qdq, integers = quantized(Conv(bias), x)
    (node,) = calls(qdq, "aten.conv2d")
    w, wp, b = weight_and_bias(qdq, node)
    q_in, q_out = node.args[0].args[0], next(iter(node.users))
    # torchao's formula writes stride 1, padding 0, groups 1 as literals its matcher ignores.
    plain = theirs.out_dtype

    def out_dtype(op: Any, dtype: Any, *args: Any) -> Any:
        if op is torch.ops.aten.convolution.default:
            return plain(op, dtype, *args[:3], [2, 2], [1, 1], [1, 1], False, [0, 0], 2)
        return plain(op, dtype, *args)

    monkeypatch.setattr(theirs, "out_dtype", out_dtype)
    xq = quantize(x[0], q_in)
    out = theirs._reference_quantized_conv2d(xq, *params(q_in), w, *wp, without_bias(b), *params(q_out))
    check(integers, x, dequantize(out, q_out))
    assert calls(integers, "aten.conv2d")[0].meta["val"].dtype == pt2q.int32


@pytest.mark.parametrize(("model", "formula"), [(Add, "_reference_quantized_add"), (AddRelu, "_reference_quantized_add_relu")])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_add(model, formula, seed) -> None:
    x = inputs_for(seed, (3, 40), (3, 40))
    qdq, integers = quantized(model(), x)
    (node,) = calls(qdq, "aten.add")
    ins = [a.args[0] for a in node.args[:2]]
    after = next(iter(node.users))
    q_out = next(iter(after.users)) if "relu" in str(after.target) else after
    args = []
    for value, q in zip(x, ins, strict=True):
        args += [quantize(value, q), *params(q)[:2]]
    scale, zp, lo, hi = params(q_out)
    out = getattr(theirs, formula)(*args, scale, zp, torch.tensor([lo]), torch.tensor([hi]))
    check(integers, x, dequantize(out, q_out))


@pytest.mark.parametrize("seed", [0, 1])
def test_max_pool2d(seed) -> None:
    x = inputs_for(seed, (1, 3, 9, 9), (1, 3, 9, 9))
    qdq, integers = quantized(Pool(), x)
    (node,) = calls(qdq, "aten.max_pool2d")
    (add,) = calls(qdq, "aten.add")
    q_in, q_out = node.args[0].args[0], next(iter(node.users))
    args = []
    for value, operand in zip(x, add.args[:2], strict=True):
        q = operand.args[0]
        args += [quantize(value, q), *params(q)[:2]]
    scale, zp, lo, hi = params(q_in)
    summed = theirs._reference_quantized_add(*args, scale, zp, lo, hi)
    x32 = torch.clamp(summed, lo, hi).to(torch.int32)
    pooled, _ = torch.ops.aten.max_pool2d_with_indices.default(x32 - zp, 3, 2, 1)
    out_scale, out_zp, out_lo, out_hi = params(q_out)
    out = torch.clamp(pooled * (scale / out_scale) + out_zp, out_lo, out_hi).to(torch.int8)
    check(integers, x, dequantize(out, q_out))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_dynamic_linear(bias, seed) -> None:
    x = inputs_for(seed, (9, 16))
    qdq, integers = quantized(Linear(bias), x, is_dynamic=True)
    (node,) = calls(qdq, "aten.linear")
    w, wp, b = weight_and_bias(qdq, node)
    choose = calls(qdq, "choose_qparams")[0]
    lo, hi, eps = choose.args[1:4]
    want = theirs._reference_dynamic_quantized_linear(x[0], lo, hi, eps, w, *wp, without_bias(b))
    check(integers, x, want)


def test_per_channel_weights_are_decomposed() -> None:
    x = inputs_for(3, (2, 6, 9, 8))
    qdq, integers = quantized(Conv(), x, is_per_channel=True)
    (node,) = calls(qdq, "aten.conv2d")
    dq, bias = node.args[1], constant(qdq, node.args[2])
    w, scales, zps = (constant(qdq, a) for a in dq.args[:3])
    weight = theirs._reference_dequantize_per_channel_int8(w, scales, zps, *dq.args[3:6])
    q_in, q_out = node.args[0].args[0], next(iter(node.users))
    xf = dequantize(quantize(x[0], q_in), q_in)
    y = torch.nn.functional.conv2d(xf, weight, bias, 2, 1, 1, 2)
    want = dequantize(quantize(y, q_out), q_out)
    assert not calls(integers, "quantized_decomposed")
    got = to_torch(integers(to_pt2q(x[0])))
    # The convolution itself is in float32: its sums may round differently, by one step at most.
    assert (got - want).abs().max() <= q_out.args[1] * 1.001


def test_a_model_equals_torchaos_own_rewrite() -> None:
    """linear -> relu -> linear: torchao makes integers of the second linear only."""

    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(16, 12), torch.nn.Linear(12, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.relu(self.a(x)))

    class Ours(pt2q.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = pt2q.nn.Linear(16, 12), pt2q.nn.Linear(12, 5)

        def forward(self, x: Any) -> Any:
            return self.b(pt2q.relu(self.a(x)))

    torch.manual_seed(3)
    reference = Theirs().eval()
    (x,) = inputs_for(5, (7, 16))
    captured = torch.export.export(copy.deepcopy(reference), (x,), strict=True).module()
    quantizer = torch_xnnpack.XNNPACKQuantizer().set_global(torch_xnnpack.get_symmetric_quantization_config())
    prepared = torch_prepare(captured, quantizer)
    prepared(x)
    want = torch_convert(prepared, use_reference_representation=True)(x)

    model = Ours()
    model.load_state_dict({k: to_pt2q(v) for k, v in reference.state_dict().items()})
    gm = pt2q.export.export(model.eval(), (x.numpy(),)).module()
    gm = prepare_pt2e(gm, XNNPACKQuantizer().set_global(get_symmetric_quantization_config()))
    gm(x.numpy())
    got = convert_pt2e(gm, use_reference_representation=True)(x.numpy())
    # The first linear runs in float32 in both; its sums may differ in the last bit, which moves a
    # value at a rounding border by one step.
    step = float(np.abs(want.numpy()).max()) / 127
    np.testing.assert_allclose(got, want.numpy(), atol=1.01 * step, rtol=0)
    assert float((np.abs(got - want.numpy()) == 0).mean()) > 0.9
