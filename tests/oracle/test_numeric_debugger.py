"""The numeric debugger against torchao's: handles, logged operators, losses of the same tensors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torchao.quantization.pt2e as theirs
import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as torch_x86
from test_interop_torch import DigitsNet
from torchao.quantization.pt2e import quantize_pt2e as torch_flow
from torchao.quantization.pt2e._numeric_debugger import QuantizationComparisonResult as TheirResult

from pt2q.ao.quantization import pt2e as ours
from pt2q.ao.quantization import quantize_pt2e
from pt2q.ao.quantization.pt2e._numeric_debugger import QuantizationComparisonResult
from pt2q.ao.quantization.quantizer import x86_inductor_quantizer
from pt2q.interop import torch as bridge

warnings.filterwarnings("ignore")


def export_pair():
    torch.manual_seed(3)
    x = torch.randn(4, 1, 8, 8)
    program = torch.export.export(DigitsNet().eval(), (x,))
    return program, bridge.from_exported(program), x


def test_handles_are_the_peers():
    program, mine, _ = export_pair()
    theirs.generate_numeric_debug_handle(program)
    ours.generate_numeric_debug_handle(mine)
    handle = lambda n: n.meta["custom"]["numeric_debug_handle"]  # noqa: E731
    want = {n.name: handle(n) for n in program.graph.nodes if "custom" in n.meta}
    assert {n.name: handle(n) for n in mine.graph.nodes if "custom" in n.meta} == want


def summaries(flow, debugger, quantizer_module, program, x):
    """{operator: (sqnr, mse)} of the float and the converted model."""
    reference = debugger.prepare_for_propagation_comparison(program.module())
    quantizer = quantizer_module.X86InductorQuantizer().set_global(
        quantizer_module.get_default_x86_inductor_quantization_config()
    )
    prepared = flow.prepare_pt2e(program.module(), quantizer)
    prepared(x)
    actual = debugger.prepare_for_propagation_comparison(flow.convert_pt2e(prepared))
    reference(x), actual(x)
    results = debugger.compare_results(
        debugger.extract_results_from_loggers(reference), debugger.extract_results_from_loggers(actual)
    )
    return {info.name: s for info, s in results.items()}


def test_compared_operators_and_losses_are_the_peers():
    program, mine, x = export_pair()
    want = summaries(torch_flow, theirs, torch_x86, program, x)
    got = summaries(quantize_pt2e, ours, x86_inductor_quantizer, mine, x.numpy())
    assert list(got) == list(want)
    for name, summary in want.items():
        assert got[name].actual_node_name == summary.actual_node_name
        assert got[name].ref_node_name == summary.ref_node_name
        a, b = got[name].results[0], summary.results[0]
        # Few values lie on a rounding boundary; the float sums are taken in another order.
        assert float(a.sqnr) == pytest.approx(float(b.sqnr), abs=0.05), name
        assert float(a.mse_loss) == pytest.approx(float(b.mse_loss), rel=0.02), name


@pytest.mark.parametrize("case", ["normal", "equal", "zeros", "large", "int8"])
def test_losses_of_equal_tensors(case):
    torch.manual_seed(5)
    a = torch.randn(3, 40)
    b = a + 0.01 * torch.randn(3, 40)
    if case == "equal":
        b = a.clone()
    elif case == "zeros":
        a = b = torch.zeros(4)
    elif case == "large":
        a, b = a * 1e15, b * 1e15
    elif case == "int8":
        a, b = (a * 20).to(torch.int8), (a * 21).to(torch.int8)
    want, got = TheirResult(actual=a, ref=b), QuantizationComparisonResult(actual=a.numpy(), ref=b.numpy())
    # float32 sums there, double sums here
    for name in ("sqnr", "mse_loss"):
        np.testing.assert_allclose(float(getattr(got, name)), float(getattr(want, name)), rtol=1e-5)


def test_structures_and_errors_are_the_peers():
    t = torch.ones(2)
    nested = {"a": [t, (t, t)]}
    want = TheirResult(actual=nested, ref=nested).sqnr
    mine = {"a": [np.ones(2), (np.ones(2), np.ones(2))]}
    got = QuantizationComparisonResult(actual=mine, ref=mine).sqnr
    assert got.keys() == want.keys() and type(got["a"][1]) is type(want["a"][1])
    for result, one, two in ((TheirResult, t, torch.ones(3)), (QuantizationComparisonResult, np.ones(2), np.ones(3))):
        with pytest.raises(ValueError, match="Cannot compare tensors with different shapes"):
            result(actual=one, ref=two)
        with pytest.raises(ValueError, match="`self.actual` value must be a Tensor, list, tuple or dict"):
            result(actual=3, ref=one)
    with pytest.raises(ValueError, match="Expected ep to be ExportedProgram"):
        ours.generate_numeric_debug_handle(3)
