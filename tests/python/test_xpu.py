"""Device "xpu": the error without an Intel GPU, and the CPU engine in its place."""

from __future__ import annotations

import numpy as np
import pytest

import pt2q
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.xpu_inductor_quantizer import (
    XPUInductorQuantizer,
    get_default_xpu_inductor_quantization_config,
)

no_gpu = pytest.mark.skipif(pt2q.xpu.is_available(), reason="there is an Intel GPU: nothing to refuse")


@pytest.fixture(autouse=True)
def no_fallback():
    with pt2q.xpu.allow_cpu_fallback(False):
        yield


@pytest.fixture
def fallback():
    with pt2q.xpu.allow_cpu_fallback():
        yield


@no_gpu
@pytest.mark.parametrize(
    "use",
    [
        lambda: pt2q.randn(2, 3, device="xpu"),
        lambda: pt2q.zeros(2, device="xpu:0"),
        lambda: pt2q.tensor([1.0], device="xpu"),
        lambda: pt2q.arange(3, device="xpu"),
        lambda: pt2q.ones(2).to("xpu"),
        lambda: pt2q.ones(2).xpu(),
        lambda: nn.Linear(2, 2).to("xpu"),
        lambda: nn.Conv2d(3, 4, 1, device="xpu"),
        lambda: nn.BatchNorm2d(3, device="xpu"),
    ],
)
def test_without_gpu_the_error_says_what_to_do(use):
    assert not pt2q.xpu.cpu_fallback_allowed()
    with pytest.raises(pt2q.RuntimeError, match="no Intel GPU") as error:
        use()
    assert "allow_cpu_fallback" in error.value.hint


@no_gpu
def test_fallback_ends_with_the_block():
    with pt2q.xpu.allow_cpu_fallback():
        assert pt2q.ones(1, device="xpu").device.type == "xpu"
        assert not pt2q.xpu.is_available() and pt2q.xpu.device_count() == 0
        assert "CPU engine" in pt2q.xpu.get_device_name()
    with pytest.raises(pt2q.RuntimeError, match="no Intel GPU"):
        pt2q.ones(1, device="xpu")


def test_labels_follow_tensors_and_modules(fallback):
    x = pt2q.randn(2, 3, device="xpu")
    assert x.is_xpu and not x.is_cpu and x.get_device() == 0
    assert "device='xpu'" in repr(x)
    assert (x + 1).device == x.device and x.cpu().is_cpu
    assert np.array_equal(x.cpu().numpy(), x.numpy())
    layer = nn.Sequential(nn.Conv2d(3, 4, 1, device="xpu"), nn.BatchNorm2d(4)).xpu()
    assert {p.device.type for p in layer.state_dict().values()} == {"xpu"}
    assert layer.cpu()[0].weight.is_cpu


def small_model():
    pt2q.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ).eval()  # fmt: skip


def quantized(device):
    model = small_model().to(device)
    x = pt2q.from_numpy(np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(np.float32)).to(device)
    exported = pt2q.export.export_for_training(model, (x,)).module()
    quantizer = XPUInductorQuantizer().set_global(get_default_xpu_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    prepared(x)
    return convert_pt2e(prepared), x


def test_same_numbers_as_on_the_cpu(fallback):
    if pt2q.xpu.is_available():
        pytest.skip("there is an Intel GPU: its float32 sums differ")
    on_cpu, x = quantized("cpu")
    on_xpu, y = quantized("xpu")
    assert str(on_cpu.code) == str(on_xpu.code)
    expected, got = pt2q.compile(on_cpu)(x), pt2q.compile(on_xpu)(y)
    assert got.device.type == "xpu" and expected.device.type == "cpu"
    assert np.array_equal(expected.numpy(), got.numpy())
    text = pt2q.compile(on_xpu).explain()
    assert "device: xpu, CPU engine in place of an Intel GPU" in text
    assert "device:" not in pt2q.compile(on_cpu).explain()
    # NumPy in, NumPy out, also for a model of the device.
    assert np.array_equal(pt2q.compile(on_xpu)(x.numpy()), expected.numpy())


@no_gpu
def test_running_a_model_of_the_device_needs_the_fallback():
    with pt2q.xpu.allow_cpu_fallback():
        model, x = quantized("xpu")
        compiled = pt2q.compile(model)
    for call in (model, compiled):
        with pytest.raises(pt2q.RuntimeError, match="no Intel GPU"):
            call(x.numpy())
