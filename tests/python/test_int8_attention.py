"""Attention whose products are quantized: written with matmul, or scaled_dot_product_attention written out."""

from __future__ import annotations

import numpy as np
import pytest
from peer_nets import count, counts

import pt2q
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import x86_inductor_quantizer as xiq
from pt2q.nn import functional as F

STATIC = xiq.get_default_x86_inductor_quantization_config()


class Encoder(nn.Module):
    def __init__(self, whole, **options):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(64, 64) for _ in range(4))
        self.whole, self.options = whole, options

    def heads(self, x):
        return x.view(x.shape[0], x.shape[1], 4, 16).transpose(1, 2)

    def forward(self, x, mask=None):
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        if self.whole:
            y = F.scaled_dot_product_attention(q, k, v, mask, **self.options)
        else:
            scores = pt2q.matmul(q, k.transpose(-2, -1)) / 4.0
            y = pt2q.matmul(F.softmax(scores if mask is None else scores + mask, -1), v)
        return self.out(y.transpose(1, 2).reshape(x.shape[0], x.shape[1], 64))


def converted(model, *inputs, config=STATIC, **export):
    graph = pt2q.export.export(model.eval(), inputs, **export).module()
    quantizer = xiq.X86InductorQuantizer().set_global(config)
    for function in (pt2q.matmul, F.scaled_dot_product_attention):
        quantizer.set_function_type_qconfig(function, config)
    prepared = prepare_pt2e(graph, quantizer)
    prepared(*inputs)
    return convert_pt2e(prepared)


def check(model, *inputs):
    """The compiled model runs the kernel and gives the graph's own results."""
    compiled = pt2q.compile(model)
    got, want = np.asarray(compiled(*inputs)), np.asarray(model(*inputs))
    assert [s["kernel"] for s in compiled.steps(*inputs)].count("pt2q attention int8") == 1
    # The products are exact. A probability on the edge between two codes may take the other one, which
    # moves an operand of the last layer by one quantum at most.
    assert np.abs(got - want).max() < 0.01 * np.abs(want).max()
    return compiled


@pytest.mark.parametrize("whole", (False, True), ids=("matmul", "sdpa"))
@pytest.mark.parametrize("masked", (False, True), ids=("plain", "masked"))
def test_runs_on_integers(whole, masked):
    pt2q.manual_seed(0)
    x = pt2q.randn(2, 21, 64)
    mask = pt2q.where(pt2q.randn(2, 1, 1, 21) > 1.0, -10000.0, 0.0)
    inputs = (x, mask) if masked else (x,)
    model = converted(Encoder(whole), *inputs)
    assert counts(model) == (6, 8, 4)  # as torchao's for the written-out form: q, k, v, probabilities and two inputs
    compiled = check(model, *inputs)
    kinds = {s["dtype"] for s in compiled.steps(*inputs) if "1x1" in s["kernel"]}
    assert kinds == {"uint8 -> uint8", "uint8 -> float32"}  # queries, keys and values are written as integers


def test_follows_sizes():
    pt2q.manual_seed(0)
    sizes = {0: pt2q.export.Dim("batch", min=1, max=8), 1: pt2q.export.Dim("length", min=2, max=64)}
    model = converted(Encoder(True), pt2q.randn(2, 9, 64), dynamic_shapes=(sizes,))
    compiled = pt2q.compile(model)
    for shape in ((2, 9, 64), (1, 40, 64), (8, 2, 64)):
        x = pt2q.randn(*shape)
        want = np.asarray(model(x))
        assert np.abs(np.asarray(compiled(x)) - want).max() < 0.01 * np.abs(want).max()
        assert "pt2q attention int8" in [s["kernel"] for s in compiled.steps(x)]


def test_is_the_same_under_autocast():
    pt2q.manual_seed(0)
    x = pt2q.randn(2, 21, 64)
    model = converted(Encoder(True), x)
    with pt2q.amp.autocast("cpu", dtype=pt2q.bfloat16):
        kernels = [s["kernel"] for s in pt2q.compile(model).steps(x)]
    assert kernels.count("pt2q attention int8") == 1


@pytest.mark.parametrize(
    "why, options, mask",
    [
        ("is_causal", {"is_causal": True}, None),
        ("boolean mask", {}, np.ones((1, 1, 1, 5), bool)),
    ],
)
def test_says_why_an_attention_stays_float(why, options, mask):
    inputs = (pt2q.randn(1, 5, 64), *(() if mask is None else (pt2q.from_numpy(mask),)))
    with pytest.warns(UserWarning, match=f"is not quantized.*{why}"):
        model = converted(Encoder(True, **options), *inputs)
    assert count(model, "scaled_dot_product_attention") == 1


def test_dynamic_configuration_leaves_attention_alone():
    x = pt2q.randn(1, 5, 64)
    model = converted(Encoder(True), x, config=xiq.get_default_x86_inductor_quantization_config(is_dynamic=True))
    assert count(model, "scaled_dot_product_attention") == 1
