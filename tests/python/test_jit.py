"""TorchScript mode: trace, script, prepare_jit, convert_jit, files (tests/oracle/test_jit.py compares)."""

from __future__ import annotations

import threading
import zipfile

import numpy as np
import pytest

import pt2q
from pt2q import nn, quantization
from pt2q.quantization.quantize_jit import (
    convert_jit,
    fuse_conv_bn_jit,
    prepare_jit,
    quantize_dynamic_jit,
    quantize_jit,
)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv1, self.conv2 = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.relu, self.fc1, self.fc2 = nn.ReLU(inplace=True), nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x):
        x = self.relu(self.bn(self.stem(x)))
        x = self.relu(self.conv2(self.relu(self.conv1(x))) + x)
        x = x.mean([2, 3]).reshape(x.size(0), -1)
        return self.fc2(self.relu(self.fc1(x)))


@pytest.fixture
def model():
    pt2q.manual_seed(2)
    return Residual().eval()


@pytest.fixture
def data():
    pt2q.manual_seed(3)
    return [pt2q.randn(2, 3, 12, 12) for _ in range(3)]


def qconfig(**args):
    activation = quantization.observer.MinMaxObserver.with_args(**args)
    return quantization.QConfig(activation=activation, weight=quantization.default_weight_observer)


def error(got, want):
    return float(np.linalg.norm(got.numpy() - want.numpy()) / np.linalg.norm(want.numpy()))


def quantized(model, data, configs=None, **args):
    prepared = prepare_jit(pt2q.jit.trace(model, data[0]), configs or {"": qconfig(**args)})
    for x in data:
        prepared(x)
    return convert_jit(prepared)


@pytest.mark.parametrize("dtype", [pt2q.quint8, pt2q.qint8])
def test_fusions_are_named_in_graph_for(model, data, dtype):
    converted = quantized(model, data, dtype=dtype, qscheme=pt2q.per_tensor_symmetric)
    text = converted.graph_for(data[0])
    for fusion in ("conv_relu (conv_unary)", "conv_sum_relu (conv_binary)", "linear_relu (linear_unary)", "relu_ became"):
        assert fusion in text, text
    assert error(converted(data[0]), model(data[0])) < 0.08
    before = converted(data[1]).numpy()
    for _ in range(3):  # warm-up changes nothing
        assert np.array_equal(converted(data[1]).numpy(), before)


def test_other_sizes(model, data):
    traced = pt2q.jit.trace(model, data[0])
    converted = quantized(model, data)
    for shape in ((1, 3, 12, 12), (5, 3, 20, 9)):
        x = pt2q.randn(*shape)
        assert error(traced(x), model(x)) < 1e-5
        assert error(converted(x), model(x)) < 0.1


def test_observers_by_name(model, data):
    prepared = prepare_jit(pt2q.jit.trace(model, data[0]), {"": qconfig()})
    names = [name for name, _ in prepared.named_modules()]
    assert "stem._observer_0" in names and "fc2._observer_4" in names
    assert all("activation_post_process" not in name for name in names)
    prepared(data[0])
    assert float(prepared.stem._observer_0.max_val) > 0
    assert prepared.graph_for(data[0]).count("_observer_") >= 5
    with pytest.raises(ValueError, match="is an observer"):
        prepared.save("unused.pt")


def test_configuration_by_module(model, data):
    converted = quantized(model, data, {"": qconfig(), "fc1": None, "fc2": None})
    text = converted.graph_for(data[0])
    assert "pt2q.qconv" in text and "pt2q.qlinear" not in text
    with pytest.warns(UserWarning, match="names 'fc3'"):
        prepare_jit(pt2q.jit.trace(model, data[0]), {"": qconfig(), "fc3": None})


def test_in_place_or_not(model, data):
    traced = pt2q.jit.trace(model, data[0])
    want = traced(data[0]).numpy()
    prepared = prepare_jit(traced, {"": qconfig()})
    assert np.array_equal(traced(data[0]).numpy(), want)
    prepared(data[0])
    assert convert_jit(prepared, inplace=True) is prepared
    assert prepare_jit(traced, {"": qconfig()}, inplace=True) is traced


def test_save_and_load(model, data, tmp_path):
    converted = quantized(model, data)
    path = tmp_path / "model.pt"
    converted.save(str(path))
    loaded = pt2q.jit.load(path)
    for shape in ((2, 3, 12, 12), (1, 3, 16, 10)):
        x = pt2q.randn(*shape)
        assert np.array_equal(loaded(x).numpy(), converted(x).numpy())
    pt2q.jit.save(pt2q.jit.trace(model, data[0]), path)
    assert error(pt2q.jit.load(path)(data[0]), model(data[0])) < 1e-5
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/constants.pkl", b"")
        archive.writestr("model/code/__torch__.py", b"")
    with pytest.raises(pt2q.NotImplementedError, match="TorchScript archive"):
        pt2q.jit.load(path)
    with pytest.raises(pt2q.FileError):
        pt2q.jit.load(tmp_path / "absent.pt")


def test_one_call_forms(model, data):
    def run(m, batches):
        for x in batches:
            m(x)

    converted = quantize_jit(pt2q.jit.trace(model, data[0]), {"": qconfig()}, run, [data])
    assert error(converted(data[0]), model(data[0])) < 0.08
    dynamic = quantize_dynamic_jit(pt2q.jit.trace(model, data[0]), {"": quantization.default_dynamic_qconfig})
    assert "choose_qparams" in str(dynamic.graph)
    assert error(dynamic(data[0]), model(data[0])) < 0.03
    fused = fuse_conv_bn_jit(pt2q.jit.trace(model, data[0]))
    assert "batch_norm" not in str(fused.graph)
    assert error(fused(data[0]), model(data[0])) < 1e-5


def test_script_without_example(model, data):
    scripted = pt2q.jit.script(model)
    for x in (data[0], pt2q.randn(1, 3, 30, 18)):
        assert error(scripted(x), model(x)) < 1e-5
    mlp = nn.Sequential(nn.Linear(6, 4), nn.ReLU()).eval()
    assert tuple(pt2q.jit.script(mlp)(pt2q.randn(9, 6)).shape) == (9, 4)

    class FixedSize(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 2, 3), nn.Linear(2 * 26 * 26, 3)

        def forward(self, x):
            return self.fc(self.conv(x).flatten(1))

    for bad in (FixedSize().eval(), nn.ReLU(), len):
        with pytest.raises(pt2q.NotImplementedError, match="use jit.trace"):
            pt2q.jit.script(bad)
    assert tuple(pt2q.jit.trace(FixedSize().eval(), pt2q.randn(2, 1, 28, 28))(pt2q.randn(5, 1, 28, 28)).shape) == (5, 3)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x, y):
        return self.fc(x) + y


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (TwoInputs, "missing 1 required positional argument: 'y'"),
        (Branches, "data-dependent control flow"),
        (nn.ReLU, "its layers do not tell what input it takes"),
        (lambda: abs, "cannot capture abs without example inputs \\(it is no module\\)"),
    ],
)
def test_script_says_why_it_needs_an_example(make, why):
    with pytest.raises(pt2q.NotImplementedError, match=why) as raised:
        pt2q.jit.script(make())
    assert str(raised.value).endswith("use jit.trace(model, example_inputs)")


def test_functions_and_bad_input(model):
    double = pt2q.jit.trace(lambda x: x * 2, pt2q.ones(3))
    assert double(np.ones(5, np.float32)).tolist() == [2.0] * 5
    for bad, kind in (
        (lambda: pt2q.jit.trace(model), pt2q.TypeError),
        (lambda: pt2q.jit.trace(3, pt2q.ones(1)), pt2q.TypeError),
        (lambda: prepare_jit(double, {"": 3}), pt2q.TypeError),
        (lambda: prepare_jit(double, 3), ValueError),
        (lambda: double.train(), pt2q.NotImplementedError),
        (lambda: pt2q.jit.save(model, "x.pt"), pt2q.TypeError),
        (lambda: pt2q.jit.freeze(model), pt2q.TypeError),
    ):
        with pytest.raises(kind):
            bad()


def test_threads_may_share_a_model(model, data):
    converted = quantized(model, data)
    results = [None] * 4

    def work(i):
        results[i] = converted(data[i % 3]).numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, result in enumerate(results):
        assert np.array_equal(result, converted(data[i % 3]).numpy())
