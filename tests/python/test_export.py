"""Capture: names, metadata, structures, dynamic dimensions, in-place operators, errors."""

import operator

import numpy as np
import pytest

import pt2q as torch
from pt2q import nn
from pt2q.export import Dim, export, export_for_training


def here(offset=0):
    """Line number of the caller."""
    import inspect

    return inspect.currentframe().f_back.f_lineno + offset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        y = self.relu(self.bn(self.conv1(x)))
        y = self.relu(y + 1)
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(y, (1, 1)), 1))


def capture(forward, *args, **options):
    class Model(nn.Module):
        pass

    Model.forward = forward
    return export(Model().eval(), args, **options).module()


def calls(gm):
    return [str(n.target) for n in gm.graph.nodes if n.op == "call_function"]


# --- names and metadata ---------------------------------------------------------------------------


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def test_names_are_those_of_pytorch(net):
    gm = export(net, (torch.randn(1, 3, 8, 8),)).module()
    names = [n.name for n in gm.graph.nodes]
    for name in ("x", "conv1_weight", "conv1_bias", "conv2d", "batch_norm", "relu_", "add", "relu__1", "flatten", "linear", "output"):
        assert name in names
    attrs = [n.target for n in gm.graph.nodes if n.op == "get_attr"]
    assert "conv1.weight" in attrs and "bn.running_mean" in attrs
    assert calls(gm)[:4] == ["aten.conv2d.default", "aten.batch_norm.default", "aten.relu.default", "aten.add.Tensor"]


def test_captured_model_computes_the_same(net):
    x = torch.randn(2, 3, 8, 8)
    gm = export(net, (x,)).module()
    np.testing.assert_allclose(gm(x).numpy(), net(x).numpy(), rtol=1e-5, atol=1e-6)


def test_metadata(net):
    gm = export(net, (torch.randn(1, 3, 8, 8),)).module()
    conv = next(n for n in gm.graph.nodes if n.name == "conv2d")
    assert conv.meta["val"].shape == (1, 4, 8, 8) and conv.meta["val"].dtype is torch.float32
    stack = conv.meta["nn_module_stack"]
    assert list(stack.values())[-1] == ("conv1", "pt2q.nn.modules.conv.Conv2d")
    assert list(stack.values())[0][0] == ""
    assert __file__ in conv.meta["stack_trace"] and "in forward" in conv.meta["stack_trace"]
    assert conv.meta["source_fn_stack"][-1][1] == "conv2d"


def test_state_dict_keys_are_the_models(net):
    ep = export(net, (torch.randn(1, 3, 8, 8),))
    assert list(ep.state_dict) == [*dict(net.named_parameters()), *dict(net.named_buffers())]
    gm = ep.module()
    gm.load_state_dict(net.state_dict())
    assert ep.graph_signature.user_inputs == ("x",)
    assert "conv1.weight" in ep.graph_signature.parameters


def test_exported_program_is_not_callable_and_modules_are_independent(net):
    ep = export_for_training(net, (torch.randn(1, 3, 8, 8),))
    with pytest.raises(torch.RuntimeError, match=r"exported_program.module\(\)"):
        ep(torch.randn(1, 3, 8, 8))
    a, b = ep.module(), ep.module()
    a.graph.nodes[-1].args = ((a.graph.nodes[0],),)
    a.graph.eliminate_dead_code()
    assert len(b.graph.nodes) == len(ep.graph.nodes) > len(a.graph.nodes)


def test_capture_pre_autograd_graph(net):
    from pt2q._export import capture_pre_autograd_graph, dynamic_dim

    x = torch.randn(2, 3, 8, 8)
    gm = capture_pre_autograd_graph(net, (x,))
    assert isinstance(gm, torch.fx.GraphModule)
    gm = capture_pre_autograd_graph(net, (x,), constraints=[dynamic_dim(x, 0)])
    assert gm(torch.randn(5, 3, 8, 8)).shape == (5, 2)


# --- structures -----------------------------------------------------------------------------------


def test_nested_inputs_and_outputs():
    def forward(self, pair, options, *, scale):
        a, b = pair
        return {"sum": a + b, "scaled": [options["x"] * scale], "none": None}

    x = torch.ones(2)
    gm = capture(forward, (x, x), {"x": x}, kwargs={"scale": x * 3})
    out = gm((x, x * 2), {"x": x}, scale=x * 4)
    assert out["sum"].tolist() == [3, 3] and out["scaled"][0].tolist() == [4, 4] and out["none"] is None
    assert [n.name for n in gm.graph.nodes if n.op == "placeholder"] == ["pair_0", "pair_1", "options_x", "scale"]
    with pytest.raises(torch.TypeError, match="'pair' has the structure"):
        gm([x, x], {"x": x}, scale=x)
    with pytest.raises(torch.TypeError, match="missing scale"):
        gm((x, x), {"x": x})
    with pytest.raises(torch.TypeError, match="no input 'other'"):
        gm((x, x), {"x": x}, other=x)


def test_constants_are_specialised():
    def forward(self, x, factor, bias=None):
        return x * factor if bias is None else x * factor + bias

    x = torch.ones(2)
    gm = capture(forward, x, 3)
    assert gm(x, 3).tolist() == [3, 3]
    with pytest.raises(torch.ValueError, match="'factor' was captured with the constant 3, got 4"):
        gm(x, 4)


def test_several_results_and_getitem():
    def forward(self, x):
        values, indices = x.topk(2)
        a, b = x.chunk(2)
        return values, indices, a + b

    gm = capture(forward, torch.tensor([1.0, 5.0, 3.0, 2.0]))
    values, indices, total = gm(torch.tensor([1.0, 5.0, 3.0, 2.0]))
    assert values.tolist() == [5, 3] and indices.tolist() == [1, 2] and total.tolist() == [4, 7]
    assert any(n.target is operator.getitem for n in gm.graph.nodes)


def test_numpy_in_numpy_out(net):
    x = np.random.default_rng(0).random((1, 3, 8, 8), dtype=np.float32)
    gm = export(net, (x,)).module()
    assert isinstance(gm(x), np.ndarray)
    assert isinstance(gm(torch.from_numpy(x)), torch.Tensor)


# --- mutation and aliasing ------------------------------------------------------------------------


def test_in_place_operators_become_functional():
    def forward(self, x):
        y = x * 2
        y.add_(1)
        y[:, 0] = 7
        y[0, 1:] *= 10
        return y

    x = torch.ones(2, 3)
    gm = capture(forward, x)
    assert gm(x).tolist() == [[7, 30, 30], [7, 3, 3]]
    assert not [t for t in calls(gm) if t.split(".")[1].endswith("_")]


def test_constants_written_in_forward_are_values():
    def forward(self, x):
        out = torch.zeros(2)
        out += x
        return out * 2

    gm = capture(forward, torch.ones(2))
    assert gm(torch.tensor([1.0, 5.0])).tolist() == [2, 10]


def writes_through(take):
    def forward(self, x):
        base = x * 1
        before = base[1:]
        view = take(base)
        view.mul_(2)
        again = base.transpose(0, 1)
        base.sub_(1)
        return base, view, before, again, x

    return forward


@pytest.mark.parametrize(
    "take",
    [
        lambda t: t.view(-1),
        lambda t: t[1:],
        lambda t: t[:, 1:-1:2],
        lambda t: t[-1],
        lambda t: t.transpose(0, 1)[2],
        lambda t: t.t().unsqueeze(0)[:, 1:],
        lambda t: t.view(2, 2, 3).permute(2, 0, 1)[1],
        lambda t: t[0:1].squeeze(0)[3:].detach(),
        lambda t: t.unflatten(1, (3, 2))[:, :, 0],
    ],
)
def test_writes_through_views_reach_everything_that_shares_the_memory(take):
    x = torch.arange(12.0).view(2, 6)
    forward = writes_through(take)
    want = forward(None, x.clone())
    gm = capture(forward, x)
    for a, b in zip(gm(x), want):
        assert a.tolist() == b.tolist()
    assert not [t for t in calls(gm) if t.split(".")[1].endswith("_")]
    assert {"aten.slice_scatter.default", "aten.select_scatter.default", "aten.view_as.default", "aten.transpose.int"} & set(calls(gm))


@pytest.mark.parametrize(
    "take",
    [lambda t: t.clone(), lambda t: t.clone()[0], lambda t: torch.ops.aten.view_copy.default(t, [-1]), lambda t: t + 0],
)
def test_writes_into_copies_stay_there(take):
    x = torch.arange(12.0).view(2, 6)
    forward = writes_through(take)
    want = forward(None, x.clone())
    for a, b in zip(capture(forward, x)(x), want):
        assert a.tolist() == b.tolist()


def test_a_mask_filled_region_by_region():
    """As in shifted windows: a new tensor, written through slices of slices."""

    def forward(self, x):
        mask = x.new_zeros(4, 4)
        for i, rows in enumerate((slice(0, 2), slice(2, 3), slice(3, None))):
            for k, columns in enumerate((slice(0, -2), slice(-2, None))):
                mask[rows, columns].fill_(3 * i + k)
        return x + mask

    x = torch.ones(4, 4)
    gm = capture(forward, x)
    assert gm(x).tolist() == forward(None, x).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [4, 4, 5, 5], [7, 7, 8, 8]]


def test_reading_memory_changed_through_what_may_be_a_copy_is_refused():
    def forward(self, x):
        base = x * 1
        view = base.reshape(-1)
        view.relu_()
        return base + 1

    with pytest.raises(torch.NotImplementedError, match="'mul' shares memory"):
        capture(forward, torch.ones(2, 2))

    def constant(self, x):
        table = torch.zeros(2, 2)
        row = table[0]
        row += x
        return table * 1 + row

    with pytest.raises(torch.NotImplementedError, match="constant shares memory"):
        capture(constant, torch.ones(2))


def test_writing_a_buffer_is_refused():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x):
            self.count.add_(1)
            return x + self.count

    with pytest.raises(torch.NotImplementedError, match="'count'"):
        export(Counter().eval(), (torch.ones(1),))


def test_parameters_used_in_expressions_stay_parameters():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.gamma = nn.Parameter(torch.tensor([2.0, 3.0]))
            self.table = torch.tensor([10.0, 20.0])

        def forward(self, x):
            return x * self.gamma.view(1, -1) + self.table

    gm = export(Scale().eval(), (torch.ones(1, 2),)).module()
    assert {n.target for n in gm.graph.nodes if n.op == "get_attr"} == {"gamma", "table"}
    assert gm(torch.ones(1, 2)).tolist() == [[12, 23]]


# --- recapturing ----------------------------------------------------------------------------------


def test_recapture_drops_what_is_not_used(net):
    x = torch.randn(1, 3, 8, 8)
    gm = export(net, (x,)).module()
    gm.register_buffer("unused", torch.zeros(5))
    again = export(gm, (x,)).module()
    assert "unused" not in again.state_dict() and "conv1.weight" in again.state_dict()
    assert torch.equal(again(x), gm(x))
    conv = next(n for n in again.graph.nodes if n.name == "conv2d")
    assert "in forward" in conv.meta["stack_trace"]
    assert list(conv.meta["nn_module_stack"])[-1] == "conv1"


def test_graph_module_inside_a_module(net):
    x = torch.randn(1, 3, 8, 8)
    gm = export(net, (x,)).module()

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = gm
            self.head = nn.Linear(2, 1)

        def forward(self, x):
            return self.head(self.inner(x)) + self.inner(x).sum()

    outer = Outer().eval()
    captured = export(outer, (x,)).module()
    np.testing.assert_allclose(captured(x).numpy(), outer(x).numpy(), rtol=1e-5, atol=1e-6)


# --- dynamic dimensions ---------------------------------------------------------------------------


def test_dynamic_batch(net):
    x = torch.randn(2, 3, 8, 8)
    ep = export(net, (x,), dynamic_shapes={"x": {0: Dim("batch", min=1, max=64)}})
    assert str(ep.range_constraints) == "{'batch': VR[1, 64]}"
    gm = ep.module()
    assert str(gm.graph.nodes[0].meta["val"]) == "float32[batch, 3, 8, 8]"
    for n in (1, 2, 7):
        y = torch.randn(n, 3, 8, 8)
        np.testing.assert_allclose(gm(y).numpy(), net(y).numpy(), rtol=1e-5, atol=1e-6)


def test_sizes_stay_symbolic():
    def forward(self, x):
        n = x.size(0)
        return x.view(n, x.shape[1] * 3), torch.zeros(n * 2 + 1)

    gm = capture(forward, torch.ones(2, 4, 3), dynamic_shapes=({0: Dim("n")},))
    assert "aten.sym_size.int" in calls(gm)
    a, b = gm(torch.ones(5, 4, 3))
    assert a.shape == (5, 12) and b.shape == (11,)


def test_undecidable_comparison_names_the_dimension_and_the_line():
    def forward(self, x):
        if x.shape[0] > 3:
            return x + 1
        return x - 1

    line = here(-4)
    with pytest.raises(torch.ValueError, match="'n'.*cannot be decided") as info:
        capture(forward, torch.ones(4), dynamic_shapes=({0: Dim("n")},))
    assert f'test_export.py", line {line}, in forward' in str(info.value)
    gm = capture(forward, torch.ones(4), dynamic_shapes=({0: Dim("n", min=4)},))
    assert gm(torch.ones(9))[0].item() == 2


def test_number_needed_from_a_dynamic_size():
    def forward(self, x):
        return x * float(x.shape[0])

    with pytest.raises(torch.ValueError, match=r"float\(\) needs a number.*'n'"):
        capture(forward, torch.ones(4), dynamic_shapes=({0: Dim("n")},))


def test_auto_falls_back_to_the_example():
    def forward(self, x):
        return x + 1 if x.shape[0] > 3 else x - 1

    gm = capture(forward, torch.ones(4), dynamic_shapes=({0: Dim.AUTO},))
    assert str(gm.graph.nodes[0].meta["val"]) == "float32[4]"
    gm = capture(lambda self, x: x + 1, torch.ones(4), dynamic_shapes=({0: Dim.AUTO},))
    assert gm(torch.ones(6)).shape == (6,)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": {0: Dim("n")}}, r"names 'y'.*\(x\)"),
        (({0: Dim("n")}, None), "has 2 entries"),
        (({5: Dim("n")},), "5 is not one of its 2 dimensions"),
        (({0: Dim("n", min=10)},), "is 4 in the example, outside"),
        (({0: 3},), "declared as 3, but the example has 4"),
        (({0: Dim("n"), 1: Dim("n")},), "'n' is 4 at dimension 0.*but 2 at"),
    ],
)
def test_bad_dynamic_shapes(shapes, message):
    with pytest.raises(torch.ValueError, match=message):
        capture(lambda self, x: x, torch.ones(4, 2), dynamic_shapes=shapes)


def test_bad_dims():
    with pytest.raises(torch.ValueError, match="identifier"):
        Dim("a b")
    with pytest.raises(torch.ValueError, match="inconsistent"):
        Dim("a", min=5, max=2)


# --- data-dependent control flow and unknown operators --------------------------------------------


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda x: x + 1 if x.sum() > 0 else x, r"bool\(tensor\)"),
        (lambda x: x * x.max().item(), r"item\(\)"),
        (lambda x: x * float(x.mean()), r"float\(tensor\)"),
        (lambda x: x * int(x.mean()), r"int\(tensor\)"),
        (lambda x: torch.tensor(x.numpy()), "NumPy"),
        (lambda x: np.asarray(x), "NumPy"),
        (lambda x: x.tolist(), r"tolist\(\)"),
        (lambda x: [1, 2][x.argmax()], "index"),
    ],
)
def test_data_dependent_control_flow_names_operator_and_line(use, what):
    def forward(self, x):
        return use(x)

    with pytest.raises(torch.TypeError, match=what) as info:
        capture(forward, torch.ones(2))
    assert "test_export.py" in str(info.value)
    assert info.value.op.startswith("aten.") or info.value.node == "x"


def test_unknown_operator_names_operator_and_line():
    def forward(self, x):
        return torch.ops.aten.frobnicate(x)

    line = here(-2)
    with pytest.raises(torch.NotImplementedError, match="aten.frobnicate") as info:
        capture(forward, torch.ones(2))
    assert f"line {line}, in forward" in str(info.value)
    with pytest.raises(torch.NotImplementedError, match="aten.frobnicate.*in forward"):
        capture(lambda self, x: forward(self, x), torch.ones(2))


def test_shape_error_names_the_line():
    def forward(self, x):
        return x @ torch.ones(7, 7)

    with pytest.raises(torch.Error, match="in forward"):
        capture(forward, torch.ones(2, 3))


def test_wrong_arguments(net):
    with pytest.raises(torch.TypeError, match="tuple of example positional inputs.*Tensor"):
        export(net, torch.randn(1, 3, 8, 8))
    with pytest.raises(torch.TypeError, match=r"instance of `pt2q.nn.Module`"):
        export(lambda x: x, (torch.ones(1),))


def test_capture_leaves_no_trace_after_an_error(net):
    def forward(self, x):
        raise KeyError("user's own error")

    with pytest.raises(KeyError, match="own error"):
        capture(forward, torch.ones(1))
    assert not torch._core.is_capturing()
    export(net, (torch.randn(1, 3, 8, 8),))


def test_tensor_kept_from_an_earlier_capture_is_refused():
    kept = []

    def forward(self, x):
        kept.append(x * 2)
        return x + kept[0]

    capture(forward, torch.ones(2))
    with pytest.raises(torch.RuntimeError, match="another capture"):
        capture(forward, torch.ones(2))
    with pytest.raises(torch.TypeError):
        kept[0].numpy()
    with pytest.raises(torch.Error):
        kept[0] + 1


def test_random_numbers_are_drawn_at_each_run():
    gm = capture(lambda self, x: x + torch.rand(2), torch.zeros(2))
    assert not torch.equal(gm(torch.zeros(2)), gm(torch.zeros(2)))


# --- train and eval -------------------------------------------------------------------------------


def test_train_and_eval_of_an_exported_model(net):
    gm = export(net, (torch.randn(1, 3, 8, 8),)).module()
    assert gm.eval() is gm and gm.to("cpu") is gm
    with pytest.raises(NotImplementedError, match=r"Calling train\(\) is not supported"):
        gm.train()


def test_wrong_inputs_at_run_time(net):
    gm = export(net, (torch.randn(1, 3, 8, 8),)).module()
    with pytest.raises(torch.Error, match="x"):
        gm(torch.randn(1, 3, 9, 8))
    with pytest.raises(torch.Error, match="1 input"):
        gm(torch.randn(1, 3, 8, 8), torch.randn(1))
