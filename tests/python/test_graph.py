"""Graph, Node and GraphModule under FX's names."""

import copy
import gc
import operator

import pytest

import pt2q as torch
from pt2q import nn
from pt2q.export import export
from pt2q.fx import Graph, GraphModule, Node

aten = torch.ops.aten


@pytest.fixture
def gm():
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return nn.functional.relu(self.fc(x))

    return export(M().eval(), (torch.ones(1, 3),)).module()


def node(gm, name):
    return next(n for n in gm.graph.nodes if n.name == name)


def test_node_attributes(gm):
    linear, relu = node(gm, "linear"), node(gm, "relu")
    assert (linear.op, linear.target) == ("call_function", aten.linear.default)
    assert [str(a) for a in linear.args] == ["x", "fc_weight", "fc_bias"] and linear.kwargs == {}
    assert linear.all_input_nodes == [node(gm, n) for n in ("x", "fc_weight", "fc_bias")]
    assert list(linear.users) == [relu] and linear in relu.args
    assert relu.prev == linear and linear.next == relu
    assert linear < relu and not relu < linear
    assert node(gm, "output").args == ((relu,),)
    assert isinstance(linear, Node) and linear.graph is gm.graph
    assert linear is node(gm, "linear") and len({linear, node(gm, "linear")}) == 1


def test_trailing_defaults_are_hidden_and_keyword_only_arguments_are_kwargs():
    g = Graph()
    x = g.placeholder("x")
    pool = g.call_function(aten.max_pool2d.default, (x, [2, 2]))
    assert pool.args == (x, [2, 2])
    pool.args = (x, [2, 2], [2, 2], [1, 1])
    assert pool.args == (x, [2, 2], [2, 2], [1, 1])
    add = g.call_function(aten.add.Tensor, (x, pool), {"alpha": 2})
    assert add.args == (x, pool) and add.kwargs == {"alpha": 2}
    add.kwargs = {}
    assert add.kwargs == {}


def test_editing(gm):
    relu = node(gm, "relu")
    with gm.graph.inserting_after(relu):
        neg = gm.graph.call_function(aten.neg.default, (relu,))
    changed = relu.replace_all_uses_with(neg, delete_user_cb=lambda n: n is not neg)
    assert [n.name for n in changed] == ["output"]
    assert neg.meta["val"].shape == (1, 2)
    gm.recompile()
    assert (gm(torch.ones(1, 3)) <= 0).all()
    with pytest.raises(torch.ValueError, match="'neg_default'.*still has 1 user"):
        gm.graph.erase_node(neg)
    neg.replace_all_uses_with(relu)
    neg.args = (node(gm, "linear"),)
    gm.graph.erase_node(neg)
    gm.graph.lint()
    assert neg._erased and neg.name == "neg_default"  # a handle to an erased node stays valid


def test_inserting_before_and_create_node(gm):
    out = node(gm, "output")
    with gm.graph.inserting_before(out):
        n = gm.graph.create_node("call_function", aten.abs.default, (node(gm, "relu"),), {}, "magnitude")
    out.args = ((n,),)
    assert n.name == "magnitude" and out.prev == n
    gm.graph.eliminate_dead_code()
    gm.graph.lint()
    with pytest.raises(torch.ValueError, match="opcode"):
        gm.graph.create_node("call_banana", "x")
    with pytest.raises(torch.TypeError, match="not an operator"):
        gm.graph.call_function(len, (n,))
    with pytest.raises(torch.TypeError, match="aten.relu.default"):
        gm.graph.call_function(aten.relu.default, ())


def test_replace_input_with_and_update_arg():
    g = Graph()
    x, y = g.placeholder("x"), g.placeholder("y")
    s = g.call_function(aten.add.Tensor, (x, x))
    s.replace_input_with(x, y)
    assert s.args == (y, y) and list(x.users) == []
    s.update_arg(0, x)
    assert s.args == (x, y)
    item = g.call_function(operator.getitem, ([x, y], 0))
    assert item.target is operator.getitem


def test_lint_reports_the_users_mistake():
    g = Graph()
    x = g.placeholder("x")
    a = g.call_function(aten.relu.default, (x,))
    b = g.call_function(aten.neg.default, (a,))
    a.prepend(b)
    with pytest.raises(torch.RuntimeError, match="neg"):
        g.lint()
    with pytest.raises(torch.ValueError, match="not in this graph"):
        Graph().call_function(aten.relu.default, (x,))


def test_text_round_trip(gm):
    text = str(gm.graph)
    assert "aten.linear.default(%x, %fc_weight, %fc_bias)" in text
    assert str(torch.parse_graph(text)) == text


def test_code_and_tables(gm, capsys):
    assert "linear = pt2q.ops.aten.linear.default(x, fc_weight, fc_bias);" in gm.code
    assert "return (relu,)" in gm.code
    gm.print_readable()
    gm.graph.print_tabular()
    out = capsys.readouterr().out
    assert "class GraphModule" in out and "call_function  linear" in out
    assert "def forward(self, x)" in repr(gm)


def test_meta_is_a_dict():
    x = Graph().placeholder("x")
    meta = x.meta
    meta["mine"] = {"a": 1}
    x.meta["custom"] = {"numeric_debug_handle": 3}
    x.meta["val"] = torch.TensorMeta([1, 2], torch.int8)
    x.meta["nn_module_stack"] = {"a": ("layer.0", "Linear")}
    assert x.meta["mine"]["a"] == 1 and x.meta["custom"]["numeric_debug_handle"] == 3
    assert set(x.meta) == {"val", "nn_module_stack", "custom", "mine"} and len(x.meta) == 4
    assert x.meta.get("absent") is None and "absent" not in x.meta
    y = x.graph.placeholder("y")
    y.meta = x.meta.copy()
    assert y.meta == x.meta and y.meta["val"].shape == (1, 2)
    assert y.meta.pop("mine") == {"a": 1} and "mine" not in y.meta
    with pytest.raises(KeyError, match="'y' has no 'mine'"):
        y.meta["mine"]


def test_handles_keep_the_graph_alive(gm):
    n = node(gm, "linear")
    del gm
    gc.collect()
    assert n.name == "linear" and n.graph.nodes[0].name == "x" and str(n.args[1]) == "fc_weight"


def test_attributes_and_state(gm):
    assert gm.fc.weight.shape == (2, 3)
    assert dict(gm.named_parameters()).keys() == {"fc.weight", "fc.bias"}
    assert [n for n, _ in gm.named_modules()] == [""]
    gm.extra = torch.zeros(3)
    assert "extra" in gm.state_dict()
    del gm.extra
    gm.note = "text"
    assert gm.note == "text" and "note" not in gm.state_dict()
    with pytest.raises(AttributeError, match="nope"):
        gm.nope
    with pytest.raises(torch.KeyError, match="fc.weight"):
        gm.load_state_dict({"fc.bias": torch.zeros(2)})
    with pytest.raises(torch.ValueError, match=r"size mismatch for fc.bias"):
        gm.load_state_dict({"fc.bias": torch.zeros(3), "fc.weight": torch.zeros(2, 3)})


def test_deepcopy_is_independent(gm):
    gm.note = ["x"]
    other = copy.deepcopy(gm)
    assert torch.equal(other(torch.ones(1, 3)), gm(torch.ones(1, 3)))
    gm.fc.weight.mul_(0)
    assert other.fc.weight.abs().sum() > 0
    assert other.note == ["x"] and other.note is not gm.note
    assert other.graph.nodes[0] != gm.graph.nodes[0]


def test_graph_module_from_parts():
    g = Graph()
    x = g.placeholder("x")
    w = g.get_attr("w")
    g.output(g.call_function(aten.mul.Tensor, (x, w)))
    gm = GraphModule({"w": torch.tensor([2.0])}, g)
    assert gm(torch.tensor([3.0])).tolist() == [6]
    assert gm.graph is g
