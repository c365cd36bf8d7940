"""The arguments of compile: a backend of the user's, names, what can be compiled."""

from __future__ import annotations

import numpy as np
import pytest

import pt2q as torch
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)
from pt2q.vision import models

X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x, *, scale):
        return self.fc(x) * scale["by"]


def recording(calls):
    """A backend as PyTorch's documentation shows one."""

    def backend(graph, inputs):
        calls.append((graph, inputs))
        return graph.forward

    return backend


def test_a_backend_gets_the_captured_module():
    model, calls = Scaled().eval(), []
    compiled = torch.compile(model, backend=recording(calls))
    scale = {"by": np.float32([2])}
    want = torch.export.export(model, (X,), {"scale": scale}).module()(X, scale=scale)
    assert not calls
    for _ in range(2):
        got = compiled(X, scale=scale)
        assert isinstance(got, np.ndarray)
        np.testing.assert_array_equal(got, want)
    compiled(X[:1], scale=scale)
    assert [[i.shape for i in inputs] for _, inputs in calls] == [[(2, 8), (1,)], [(1, 8), (1,)]]
    assert all("aten.linear.default" in str(graph.code) for graph, _ in calls)


def test_a_backend_gets_a_graph_as_it_is():
    graph = torch.export.export(nn.Linear(8, 4).eval(), (X,)).module()
    calls = []
    compiled = torch.compile(graph, backend=recording(calls))
    np.testing.assert_array_equal(compiled(X), graph(X))
    assert len(calls) == 1 and calls[0][0] is graph and calls[0][1][0] is X
    decorated = torch.compile(backend=lambda graph, inputs: lambda x: x + 1)(lambda x: x * 2)
    assert decorated(torch.ones(2)).tolist() == [2, 2]  # what the backend returns is what runs


def test_reports_are_of_this_compiler():
    compiled = torch.compile(nn.Linear(8, 4).eval(), backend=recording([]))
    compiled(X)
    with pytest.raises(torch.NotImplementedError, match="reports: the model is run by a backend of the user's"):
        compiled.explain()
    with pytest.raises(torch.NotImplementedError, match="async_map: the model is run by a backend of the user's"):
        compiled.async_map([X])


def test_what_cannot_be_compiled_is_named():
    net = nn.Linear(8, 4).eval()
    with pytest.raises(torch.ValueError, match="unknown backend 'nvfuser': expected one of inductor"):
        torch.compile(net, backend="nvfuser")
    with pytest.raises(torch.TypeError, match="backend must be a name or a function, got int"):
        torch.compile(net, backend=3)
    with pytest.raises(torch.TypeError, match="the backend must return what to call, got NoneType"):
        torch.compile(net, backend=lambda graph, inputs: None)(X)
    with pytest.raises(torch.TypeError, match="compile expects a model or a function, got int"):
        torch.compile(3)
    assert torch.compile(net, disable=True) is net


def test_an_exported_program_is_compiled_as_its_module():
    program = torch.export.export(nn.Linear(8, 4).eval(), (X,))
    np.testing.assert_array_equal(torch.compile(program)(X), torch.compile(program.module())(X))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1"])
def test_activations_take_little_more_than_what_is_alive_at_once(name):
    x = torch.randn(2, 3, 64, 64)
    captured = torch.export.export(getattr(models, name)().eval(), (x,)).module()
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(captured, quantizer)
    prepared(x)
    memory = torch.compile(convert_pt2e(prepared)).memory(x)
    assert 0 < memory["alive"] <= memory["activations"] <= 1.1 * memory["alive"]
    assert memory["scratch"] > 0
