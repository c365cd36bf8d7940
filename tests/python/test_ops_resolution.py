"""Operators as Python objects, and the choice of overloads."""

import copy
import pickle

import pytest

import pt2q as torch
from pt2q import nn
from pt2q.export import export

aten = torch.ops.aten


def test_objects():
    op = aten.conv2d.default
    assert op is aten.conv2d.default and op == torch._core.get_op("aten.conv2d.default")
    assert str(op) == "aten.conv2d.default" and op.name() == "aten::conv2d"
    assert aten.add.Tensor.name() == "aten::add.Tensor"
    assert op.overloadpacket == aten.conv2d and op.__name__ == "conv2d.default"
    assert op._schema.startswith("(Tensor input, Tensor weight")
    assert aten.add.overloads() == sorted(aten.add.overloads()) and "Scalar" in dir(aten.add)
    assert {op: 1}[aten.conv2d.default] == 1
    assert pickle.loads(pickle.dumps(op)) == op and copy.deepcopy(op) == op
    assert "conv2d" in dir(aten) and "aten" in dir(torch.ops)


def test_missing_operators():
    with pytest.raises(torch.NotImplementedError, match="aten.nope is not supported"):
        aten.nope
    with pytest.raises(AttributeError, match="no overload 'nope'"):
        aten.add.nope
    assert not hasattr(torch.ops.nothing, "nope")


def captured(function, *args):
    class M(nn.Module):
        def forward(self, *args):
            return function(*args)

    graph = export(M().eval(), args).graph
    return [str(n.target) for n in graph.nodes if n.op == "call_function"]


# What torch.export records for the same Python code.
CASES = [
    (lambda x: x + 1, "aten.add.Tensor"),
    (lambda x: 1 + x, "aten.add.Tensor"),
    (lambda x: x - 1.5, "aten.sub.Tensor"),
    (lambda x: 1 - x, "aten.rsub.Scalar"),
    (lambda x: x * 2, "aten.mul.Tensor"),
    (lambda x: x / 2, "aten.div.Tensor"),
    (lambda x: x**2, "aten.pow.Tensor_Scalar"),
    (lambda x: x == 0, "aten.eq.Scalar"),
    (lambda x: x > x, "aten.gt.Tensor"),
    (lambda x: x.sum(), "aten.sum.default"),
    (lambda x: x.sum(0), "aten.sum.dim_IntList"),
    (lambda x: x.mean((0, 1)), "aten.mean.dim"),
    (lambda x: x.mean(dim=1, keepdim=True), "aten.mean.dim"),
    (lambda x: x.mean(axis=1, keepdims=True), "aten.mean.dim"),
    (lambda x: x.view(-1), "aten.view.default"),
    (lambda x: x.view(2, -1), "aten.view.default"),
    (lambda x: x.reshape((3, 2)), "aten.reshape.default"),
    (lambda x: x.permute(1, 0), "aten.permute.default"),
    (lambda x: x.expand(4, -1, -1), "aten.expand.default"),
    (lambda x: torch.flatten(x, 0), "aten.flatten.using_ints"),
    (lambda x: x.transpose(0, 1), "aten.transpose.int"),
    (lambda x: x.unsqueeze(0), "aten.unsqueeze.default"),
    (lambda x: torch.cat((x, x), 1), "aten.cat.default"),
    (lambda x: torch.softmax(x, dim=-1), "aten.softmax.int"),
    (lambda x: x.split([1, 1])[0], "aten.split_with_sizes.default"),
    (lambda x: x.chunk(2)[0], "aten.chunk.default"),
    (lambda x: x.max(1)[0], "aten.max.dim"),
    (lambda x: x.max(), "aten.max.default"),
    (lambda x: torch.max(x, x), "aten.max.other"),
    (lambda x: x.clamp(0, 6), "aten.clamp.default"),
    (lambda x: x.clamp(min=0), "aten.clamp.default"),
    (lambda x: x.to(torch.float64), "aten.to.dtype"),
    (lambda x: x[0], "aten.select.int"),
    (lambda x: x[:, ::2], "aten.slice.Tensor"),
    (lambda x: x[None], "aten.unsqueeze.default"),
    (lambda x: x[torch.tensor([1, 0])], "aten.index.Tensor"),
    (lambda x: x.masked_fill(x > 0, 1.0), "aten.masked_fill.Scalar"),
    (lambda x: torch.matmul(x, x.t()), "aten.matmul.default"),
    (lambda x: x.repeat(2, 1), "aten.repeat.default"),
    (lambda x: x.squeeze(0), "aten.squeeze.dim"),
    (lambda x: x.squeeze(), "aten.squeeze.default"),
    (lambda x: torch.where(x > 0, x, -x), "aten.where.self"),
]


@pytest.mark.parametrize(("function", "target"), CASES, ids=[c[1] + f"-{i}" for i, c in enumerate(CASES)])
def test_overloads_are_pytorchs(function, target):
    assert target in captured(function, torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]))


def test_no_overload_fits():
    x = torch.ones(2)
    with pytest.raises(torch.TypeError) as info:
        torch.add(x, "text")
    assert "aten.add" in str(info.value) and "str" in str(info.value)
    with pytest.raises(torch.TypeError, match="keyword"):
        aten.relu.default(x, nope=1)
    with pytest.raises(torch.TypeError, match="object of type set"):
        torch.relu({1})


def test_named_results():
    result = torch.max(torch.tensor([[1.0, 2.0]]), dim=1)
    assert type(result).__name__ == "max" and result._fields == ("values", "indices")
    values, indices = result
    assert values.tolist() == [2] and indices.tolist() == [1]
