"""Eager mode: what torch.quantization users write, without PyTorch (tests/oracle/test_eager.py compares)."""

from __future__ import annotations

import copy
import sys
import threading

import numpy as np
import pytest

import pt2q
from pt2q import nn, quantization
from pt2q.ao.nn import quantized as nnq


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.head = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        self.sum = nnq.FloatFunctional()

    def forward(self, x):
        x = self.relu(self.bn(self.conv(x)))
        return self.head(self.sum.add(x, x).mean([2, 3]))


def qconfig(dtype=pt2q.quint8, qscheme=pt2q.per_tensor_affine, weight=quantization.default_weight_observer):
    activation = quantization.observer.MinMaxObserver.with_args(qscheme=qscheme, dtype=dtype)
    return quantization.QConfig(activation=activation, weight=weight)


def quantized(model, config, data, **prepare_args):
    model = quantization.QuantWrapper(model)
    model.qconfig = config
    prepared = quantization.prepare(model, **prepare_args)
    for x in data:
        prepared(x)
    return quantization.convert(prepared)


@pytest.fixture
def data():
    pt2q.manual_seed(1)
    return [pt2q.randn(2, 3, 8, 8) for _ in range(3)]


def error(got, want):
    return float(np.linalg.norm(got.numpy() - want.numpy()) / np.linalg.norm(want.numpy()))


@pytest.mark.parametrize("weight", ["default_weight_observer", "default_per_channel_weight_observer"])
@pytest.mark.parametrize("qscheme", [pt2q.per_tensor_affine, pt2q.per_tensor_symmetric])
@pytest.mark.parametrize("dtype", [pt2q.quint8, pt2q.qint8])
def test_every_kind_of_configuration(dtype, qscheme, weight, data):
    net = Net().eval()
    model = quantized(net, qconfig(dtype, qscheme, getattr(quantization, weight)), data)
    assert model.quant(data[0]).dtype is dtype
    assert model.module.conv(model.quant(data[0])).dtype is dtype
    assert error(model(data[0]), net(data[0])) < 0.06


def test_layers_run_integer_kernels(data):
    model = quantized(Net().eval(), qconfig(), data)
    conv = model.module.conv
    text = conv._op.explain([model.quant(data[0])], conv.scale, conv.zero_point)
    assert "pt2q.qconv.default" in text
    assert "uint8 -> uint8" in text


def test_fused_modules_do_the_same(data):
    net = Net().eval()
    fused = quantization.fuse_modules(net, [["conv", "bn", "relu"], ["head.0", "head.1"]])
    assert type(fused.conv).__name__ == "ConvReLU2d"
    assert error(fused(data[0]), net(data[0])) < 1e-5
    model = quantized(fused, qconfig(), data)
    assert model.module.conv._get_name() == "QuantizedConvReLU2d"
    assert error(model(data[0]), net(data[0])) < 0.06
    with pytest.raises(AssertionError, match="did not find fuser method"):
        quantization.fuse_modules(net, [["conv", "relu"], ["conv", "head.0"]])
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        quantization.fuse_modules(Net(), ["conv", "bn"])


def test_prepare_copies_unless_told_otherwise(data):
    model = quantization.QuantWrapper(Net().eval())
    model.qconfig = qconfig()
    prepared = quantization.prepare(model)
    assert not hasattr(model.quant, "activation_post_process")
    assert quantization.prepare(model, inplace=True) is model
    prepared(data[0])
    converted = quantization.convert(prepared)
    assert hasattr(prepared.quant, "activation_post_process")
    assert type(converted.quant) is nnq.Quantize
    assert not hasattr(converted.module.conv, "qconfig")


def test_submodules_may_differ(data):
    net = Net().eval()
    net.head.qconfig = None
    net.bn.qconfig = None
    net.head = nn.Sequential(quantization.DeQuantStub(), *net.head)
    net.head.qconfig = None
    net.head[0].qconfig = qconfig()
    net.conv.qconfig = qconfig(weight=quantization.default_per_channel_weight_observer)
    net.bn = nn.Identity()
    model = quantization.QuantWrapper(net)
    model.qconfig = qconfig()
    model.dequant.qconfig = None
    prepared = quantization.prepare(model)
    assert not hasattr(prepared.module.head[1], "activation_post_process")
    prepared(data[0])
    converted = quantization.convert(prepared)
    assert converted.module.conv.weight().qscheme() is pt2q.per_channel_affine
    assert type(converted.module.head[1]) is nn.Linear
    assert error(converted(data[0]), net(data[0])) < 0.06


def test_state_round_trip(data):
    net = Net().eval()
    model = quantized(net, qconfig(), data)
    other = quantized(Net().eval(), qconfig(), data[:1])
    state = model.state_dict()
    assert "module.head.0._packed_params._packed_params" in state
    other.load_state_dict(state)
    assert np.array_equal(other(data[0]).numpy(), model(data[0]).numpy())
    twin = copy.deepcopy(model)
    assert np.array_equal(twin(data[0]).numpy(), model(data[0]).numpy())
    prepared = quantization.QuantWrapper(net)
    prepared.qconfig = qconfig()
    prepared = quantization.prepare(prepared)
    prepared(data[0])
    fresh = quantization.prepare(_with(quantization.QuantWrapper(Net().eval()), qconfig()))
    fresh.load_state_dict(prepared.state_dict())
    assert float(fresh.quant.activation_post_process.max_val) == float(data[0].max())


def _with(model, config):
    model.qconfig = config
    return model


def test_arrays_in_arrays_out(data):
    model = quantized(Net().eval(), qconfig(), data)
    assert isinstance(model(data[0].numpy()), np.ndarray)
    assert np.array_equal(model(data[0].numpy()), model(data[0]).numpy())


def test_converted_models_compile_and_trace(data):
    model = quantized(Net().eval(), qconfig(), data)
    want = model(data[0]).numpy()
    for captured in (pt2q.compile(model), pt2q.jit.trace(model, data[0])):
        assert np.array_equal(captured(data[0]).numpy(), want)
    text = pt2q.jit.trace(model, data[0]).graph_for(data[0])
    assert "pt2q.qlinear" in text


def test_quantized_tensor():
    x = pt2q.tensor([[0.5, -1.25, 2.0]])
    q = pt2q.quantize_per_tensor(x, 0.25, 10, pt2q.quint8)
    assert q.int_repr().numpy().tolist() == [[12, 5, 18]]
    assert (q.q_scale(), q.q_zero_point(), q.qscheme()) == (0.25, 10, pt2q.per_tensor_affine)
    assert tuple(q.shape) == (1, 3) and q.size(1) == 3 and q.is_quantized and len(q) == 1
    assert q.dequantize().numpy().tolist() == [[0.5, -1.25, 2.0]]
    assert repr(q) == (
        "tensor([[ 0.5000, -1.2500,  2.0000]], size=(1, 3), dtype=pt2q.quint8,\n"
        "       quantization_scheme=pt2q.per_tensor_affine, scale=0.25, zero_point=10)"
    )
    assert nn.functional.relu(q, inplace=True) is q
    assert q.int_repr().numpy().tolist() == [[12, 10, 18]]


@pytest.mark.parametrize(("bad", "error", "text"), [
    (lambda q, x: q + q, pt2q.NotImplementedError, "scale of its own"),
    (lambda q, x: pt2q.exp(q), pt2q.NotImplementedError, "aten.exp"),
    (lambda q, x: pt2q.cat([q, x]), pt2q.NotImplementedError, "mixed"),
    (lambda q, x: nnq.Linear(3, 2)(x), pt2q.TypeError, "a quantized tensor is needed"),
    (lambda q, x: nnq.Linear(4, 2)(q), pt2q.ValueError, "4"),
    (lambda q, x: nnq.Conv2d(1, 1, 1)(q), ValueError, "Input shape must be"),
    (lambda q, x: pt2q.quantize_per_tensor(x, 0.0, 0, pt2q.quint8), pt2q.ValueError, "positive"),
    (lambda q, x: pt2q.quantize_per_tensor(x, 0.1, 0, pt2q.float32), pt2q.TypeError, "quint8"),
    (lambda q, x: q.nothing, AttributeError, "nothing"),
    (lambda q, x: nnq.FloatFunctional()(x), RuntimeError, "not intended"),
    (lambda q, x: quantization.QConfig(quantization.MinMaxObserver(), quantization.MinMaxObserver), ValueError, "instance"),
    (lambda q, x: quantization.prepare(len), TypeError, "nn.Module"),
])  # fmt: skip
def test_bad_input(bad, error, text):
    x = pt2q.ones(1, 3)
    with pytest.raises(error, match=text):
        bad(pt2q.quantize_per_tensor(x, 0.1, 0, pt2q.quint8), x)


def test_warnings_and_weight_dtype(data):
    with pytest.warns(UserWarning, match="None of the submodule got qconfig applied"):
        quantization.prepare(Net().eval())
    with pytest.raises(AssertionError, match="Weight observer must have dtype torch.qint8"):
        quantized(Net().eval(), qconfig(weight=quantization.MinMaxObserver), data)


def test_every_training_module_is_observed():
    observed = quantization.get_default_qconfig_propagation_list()
    assert set(quantization.get_default_qat_module_mappings().values()) <= observed
    assert {nn.Embedding, nn.Sequential} <= observed


def runs_meanwhile(call):
    """Whether another thread gets the interpreter while ``call`` computes: it does only where that gives it up."""
    ran, start = [], threading.Lock()
    start.acquire()

    def other():
        with start:
            ran.append(True)

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=other)
    thread.start()
    try:
        sys.setswitchinterval(1000)
        start.release()
        for _ in range(1000):
            call()
            if ran:
                return True
        return False
    finally:
        sys.setswitchinterval(interval)
        thread.join()


def test_operators_on_quantized_tensors_run_without_the_interpreter():
    x = pt2q.randn(64, 2000)
    q = pt2q.quantize_per_tensor(x, 0.05, 128, pt2q.quint8)
    calls = {
        "quantize": lambda: pt2q.quantize_per_tensor(x, 0.05, 128, pt2q.quint8),
        "dequantize": q.dequantize,
        "operator": q.relu,
    }
    for name, call in calls.items():
        assert runs_meanwhile(call), name
    assert not runs_meanwhile(lambda: None)
