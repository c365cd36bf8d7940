"""Module bookkeeping: registration, state dicts, traversal, hooks, errors."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pt2q
from pt2q import nn
from pt2q.vision import models


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.register_buffer("scratch", pt2q.zeros(3), persistent=False)

    def forward(self, x):
        return self.bn(self.conv(x))


def test_names():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "conv.weight", "conv.bias", "bn.weight", "bn.bias",
        "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias",
    ]  # fmt: skip
    assert "scratch" not in net.state_dict()
    assert "scratch" in dict(net.named_buffers())
    assert [n for n, _ in net.named_modules()] == ["", "conv", "bn", "blocks", "blocks.0", "blocks.1"]
    assert net.get_submodule("blocks.1") is net.blocks[1]


def test_load_state_dict_checks_everything_before_it_writes():
    net = Net()
    before = net.conv.bias.numpy().copy()
    state = dict(net.state_dict())
    state["conv.bias"] = pt2q.ones(4)
    state["conv.weight"] = pt2q.ones(1)
    del state["bn.bias"]
    state["more"] = pt2q.ones(1)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert "size mismatch for conv.weight" in text
    assert '"bn.bias"' in text and '"more"' in text
    assert np.array_equal(net.conv.bias.numpy(), before)


def test_load_state_dict_not_strict_reports():
    net = Net()
    result = net.load_state_dict({"conv.bias": np.ones(4, np.float32), "x": np.ones(1)}, strict=False)
    assert "conv.weight" in result.missing_keys and result.unexpected_keys == ["x"]
    assert np.array_equal(net.conv.bias.numpy(), np.ones(4))


def test_hooks_train_eval_and_deepcopy():
    net = Net()
    seen = []
    handle = net.conv.register_forward_hook(lambda module, args, result: seen.append(result.shape))
    net.eval()
    assert not net.bn.training
    x = pt2q.randn(1, 3, 5, 5)
    net(x)
    handle.remove()
    net(x)
    assert [tuple(s) for s in seen] == [(1, 4, 3, 3)]
    twin = copy.deepcopy(net)
    twin.conv.bias.fill_(7.0)
    assert not np.array_equal(twin.conv.bias.numpy(), net.conv.bias.numpy())
    assert isinstance(twin.conv.bias, nn.Parameter)


def test_mistakes_are_named():
    with pytest.raises(AttributeError, match="super"):

        class Forgot(nn.Module):
            def __init__(self):
                self.layer = nn.Linear(1, 1)

        Forgot()
    net = Net()
    with pytest.raises(TypeError, match="conv"):
        net.register_parameter("conv", 3)
    with pytest.raises(ValueError, match="expected 4D"):
        net.bn(pt2q.zeros(2, 4))
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        net.nothing


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet18", 11689512), ("resnet50", 25557032), ("mobilenet_v2", 3504872), ("squeezenet1_1", 1235496)],
)
def test_models_have_the_published_parameter_count(name, parameters):
    model = getattr(models, name)()
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_pretrained_without_file_says_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="resnet18-f37072fd.pth"):
        models.resnet18(pretrained=True)


def test_a_module_called_with_arrays_returns_arrays() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm1d(3)

        def forward(self, x, extra=None):
            assert isinstance(x, pt2q.Tensor)
            return {"y": self.bn(x), "pair": (x.sum(), extra["shift"] + 1)}

    model = Two().eval()
    x = np.ones((2, 3), np.float32)[:, ::-1]
    x.flags.writeable = False
    out = model(x, extra={"shift": np.float32([2])})
    assert isinstance(out["y"], np.ndarray) and out["pair"][1] == 3
    tensors = model(pt2q.from_numpy(x.copy()), extra={"shift": pt2q.tensor([2.0])})
    assert isinstance(tensors["y"], pt2q.Tensor)
    np.testing.assert_array_equal(out["y"], tensors["y"].numpy())
    # One array anywhere among the arguments is enough.
    for mixed in (model(pt2q.from_numpy(x.copy()), {"shift": np.float32([2])}), model(x, {"shift": pt2q.ones(1)})):
        assert isinstance(mixed["y"], np.ndarray) and isinstance(mixed["pair"][0], np.ndarray)
