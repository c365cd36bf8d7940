"""QuantConf from Python; the C++ tests (quantconf_test.cpp) cover the file format and bad files."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

import pt2q
from pt2q import ipex, nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.relu, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Linear(8, 4)

    def forward(self, x):
        x = self.relu(self.bn(self.conv1(x)))
        x = self.relu(self.conv2(x) + x)
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.fixture
def model():
    pt2q.manual_seed(4)
    return Net().eval()


@pytest.fixture
def data():
    pt2q.manual_seed(5)
    return [pt2q.randn(2, 3, 10, 10) for _ in range(3)]


def error(got, want):
    return float(np.linalg.norm(got.numpy() - want.numpy()) / np.linalg.norm(want.numpy()))


def calibrated(model, data, **args):
    conf = ipex.quantization.QuantConf(**args)
    for x in data:
        with ipex.quantization.calibrate(conf):
            model(x)
    return conf


NAMES = ["conv2d", "relu_", "conv2d", "add", "relu_", "adaptive_avg_pool2d", "flatten", "linear"]


@pytest.mark.parametrize("qscheme", [pt2q.per_tensor_affine, pt2q.per_tensor_symmetric])
def test_flow(qscheme, model, data, tmp_path):
    conf = calibrated(model, data, qscheme=qscheme)
    assert [e.name for e in conf.entries] == NAMES
    path = tmp_path / "configure.json"
    conf.save(path)
    converted = ipex.quantization.convert(model, ipex.quantization.QuantConf(path), data[0])
    for shape in ((2, 3, 10, 10), (1, 3, 17, 12)):
        x = pt2q.randn(*shape)
        assert error(converted(x), model(x)) < 0.08
    text = converted.graph_for(data[0])
    assert "conv_relu (conv_unary)" in text
    converted.save(str(tmp_path / "quantized.pt"))
    loaded = pt2q.jit.load(tmp_path / "quantized.pt")
    assert np.array_equal(loaded(data[0]).numpy(), converted(data[0]).numpy())


def test_several_batches_in_one_block(model, data):
    one = ipex.quantization.QuantConf()
    with ipex.quantization.calibrate(one):
        for x in data:
            model(x)
    many = calibrated(model, data)
    for a, b in zip(one.entries, many.entries):
        assert (a.input_scales, a.output_zero_points, a.inputs_flow) == (b.input_scales, b.output_zero_points, b.inputs_flow)


def test_decorator_nesting_and_threads(model, data):
    conf, inner = ipex.quantization.QuantConf(), ipex.quantization.QuantConf()

    @ipex.quantization.calibrate(conf)
    def evaluate(x):
        y = model(x)
        with ipex.quantization.calibrate(inner):
            model.conv1(x)
        return y

    assert tuple(evaluate(data[0]).shape) == (2, 4)
    assert [e.name for e in conf.entries] == NAMES
    assert [e.name for e in inner.entries] == ["conv2d"]
    assert inner.entries[0].input_scales == conf.entries[0].input_scales
    other = ipex.quantization.QuantConf()
    with ipex.quantization.calibrate(other):
        thread = threading.Thread(target=model, args=(data[0],))
        thread.start()
        thread.join()
    assert other.entries == []


def test_an_exception_ends_calibration(model, data):
    conf = ipex.quantization.QuantConf()
    with pytest.raises(KeyError), ipex.quantization.calibrate(conf):
        raise KeyError
    calls = len(conf.entries)
    model(data[0])
    assert len(conf.entries) == calls


def test_edits_are_honoured(model, data, tmp_path):
    path = tmp_path / "configure.json"
    calibrated(model, data).save(path)
    entries = json.loads(path.read_text())
    entries[0]["inputs_quantized"] = [False]
    entries[7]["input_scales"] = [0.5]
    entries[7]["comment"] = "coarse"
    path.write_text(json.dumps(entries))
    conf = ipex.quantization.QuantConf(path)
    converted = ipex.quantization.convert(model, conf, (data[0],))
    assert "0.5" in str(converted.graph)
    assert converted.graph_for(data[0]).count("-> pt2q.qconv.default") == 1
    conf.save(path)
    assert json.loads(path.read_text())[7]["comment"] == "coarse"


def test_captured_models_calibrate_too(model, data):
    program = pt2q.export.export(model, (data[0],)).module()
    conf = calibrated(program, data)
    assert [e.name for e in conf.entries if not e.name.startswith("relu")] == [n for n in NAMES if n != "relu_"]


def test_bad_input(model, data, tmp_path):
    q = ipex.quantization
    conf = calibrated(model, data)
    for bad, kind, text in (
        (lambda: q.QuantConf(qscheme=pt2q.per_channel_affine), AssertionError, "qscheme is only support"),
        (lambda: q.QuantConf(tmp_path / "absent.json"), AssertionError, "Can not load a empty file"),
        (lambda: q.convert(len, conf, data[0]), AssertionError, "Only support nn.Module"),
        (lambda: q.convert(model, "configure.json", data[0]), pt2q.TypeError, "QuantConf"),
        (lambda: q.convert(model, q.QuantConf(), data[0]), AssertionError, "no entries"),
        (lambda: q.convert(nn.Sequential(model.conv1, model.fc), conf, pt2q.randn(1, 3, 8, 8)), pt2q.ValueError, "entry"),
        (lambda: q.calibrate("conf"), pt2q.TypeError, "QuantConf"),
        (lambda: q.QuantConf().save(tmp_path / "c.json"), RuntimeError, "nothing to save"),
    ):
        with pytest.raises(kind, match=text):
            bad()


WRONG = [None, "x", {}, [], [None], ["x"], [[]], -1, 1.5, [-1.0], [0.0], [300], [1.0] * 9, True, [True] * 3, 2**70, [2**40]]
# What may be any text or number: flows and names of models, scales of any size.
ACCEPTED = {"inputs_flow": [["x"]], "outputs_flow": [["x"]], "input_scales": [[300], [2**40]], "output_scales": [[300], [2**40]]}


@pytest.mark.parametrize("index", [0, 5])
def test_every_member_of_an_entry_is_validated(model, data, tmp_path, index):
    """A wrong value gives an error that names the entry: when the file is read, or when the model is converted."""
    path = tmp_path / "configure.json"
    calibrated(model, data).save(path)
    good = json.loads(path.read_text())
    for key in good[index]:
        for value in [*WRONG, "(missing)"]:
            if value in ACCEPTED.get(key, []) or (key == "weight_scales" and index == 5) or value == good[index][key]:
                continue
            entries = json.loads(json.dumps(good))
            if value == "(missing)":
                del entries[index][key]
            else:
                entries[index][key] = value
            path.write_text(json.dumps(entries))
            with pytest.raises(pt2q.Error, match=rf"entry {index}\b") as raised:
                ipex.quantization.convert(model, ipex.quantization.QuantConf(path), data[0])
            assert not isinstance(raised.value, pt2q.InternalError), (key, value)


def test_a_device_that_is_absent_is_named(model, data):
    if pt2q.xpu.is_available():
        pytest.skip("this machine has an Intel GPU")
    for move in (lambda: model.to("xpu"), lambda: data[0].to("xpu")):
        with pytest.raises(RuntimeError, match="xpu"):
            ipex.quantization.convert(move(), calibrated(model, data), move())
    with pytest.raises(pt2q.ValueError, match="unknown device 'cuda'"):
        data[0].to("cuda")
