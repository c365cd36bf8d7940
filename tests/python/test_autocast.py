"""``pt2q.amp.autocast``: the context itself, and int8-mixed-bf16 models."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import pt2q
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)


@pytest.fixture(scope="module")
def model():
    pt2q.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def x():
    return pt2q.from_numpy(np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(np.float32))


@pytest.fixture(scope="module")
def quantized(model, x):
    exported = pt2q.export.export(model, (x,)).module()
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    prepared(x)
    return convert_pt2e(prepared)


def test_context_nests_and_restores():
    a, w = pt2q.randn(2, 3), pt2q.randn(4, 3)
    linear = nn.functional.linear
    assert not pt2q.is_autocast_enabled("cpu")
    with pt2q.autocast("cpu"):
        assert pt2q.is_autocast_enabled("cpu") and not pt2q.is_autocast_enabled("xpu")
        assert linear(a, w).dtype is pt2q.bfloat16
        with pt2q.amp.autocast("cpu", enabled=False):
            assert linear(a, w).dtype is pt2q.float32
        assert linear(a, w).dtype is pt2q.bfloat16
        with pytest.raises(ZeroDivisionError), pt2q.autocast("cpu"):
            1 / 0
    assert linear(a, w).dtype is pt2q.float32

    @pt2q.amp.autocast(device_type="cpu", dtype=pt2q.bfloat16)
    def decorated():
        return linear(a, w)

    assert decorated().dtype is pt2q.bfloat16
    assert not pt2q.is_autocast_enabled("cpu")


def test_which_devices_have_it():
    from pt2q.amp import is_autocast_available

    assert is_autocast_available("cpu") and is_autocast_available("xpu")
    assert is_autocast_available(pt2q.device("cpu"))
    assert not is_autocast_available("cuda")


def test_devices_are_told_apart():
    state = pt2q._core._autocast_state
    assert state() == 0
    with pt2q.autocast("xpu"):
        assert state() == 2
        with pt2q.autocast("cpu"):
            assert state() == 3
    with pt2q.autocast("cpu"):
        assert state() == 1


def test_other_threads_are_not_affected():
    seen = []
    with pt2q.autocast("cpu"):
        thread = threading.Thread(target=lambda: seen.append(pt2q.is_autocast_enabled("cpu")))
        thread.start()
        thread.join()
    assert seen == [False]


def test_bad_arguments():
    with pytest.raises(pt2q.ValueError, match="device_type"):
        pt2q.autocast("cuda")
    with pytest.raises(pt2q.NotImplementedError, match="float16"):
        pt2q.autocast("cpu", dtype=pt2q.float16)
    with pytest.warns(UserWarning, match="only bfloat16"), pt2q.autocast("cpu", dtype=pt2q.float32):
        assert not pt2q.is_autocast_enabled("cpu")


def test_int8_mixed_bf16(quantized, x):
    plain = pt2q.compile(quantized)
    expected = plain(x)
    with pt2q.amp.autocast(device_type="cpu", dtype=pt2q.bfloat16):
        compiled = pt2q.compile(quantized)
        mixed = compiled(x)
    assert expected.dtype is pt2q.float32 and mixed.dtype is pt2q.bfloat16
    error = np.linalg.norm(mixed.float().numpy() - expected.numpy()) / np.linalg.norm(expected.numpy())
    assert error < 0.004  # the integers are equal; only the last result is rounded to 8 bits
    steps = {s["op"]: s for s in compiled.steps(x)}
    assert steps["pt2q.qlinear.default"]["dtype"] == "uint8 -> bfloat16"
    assert "max_pool2d" in "".join(steps) and "uint8 -> bfloat16" in compiled.explain(x)
    pool = next(s for op, s in steps.items() if "max_pool2d" in op)
    assert pool["dtype"] == "uint8"  # quantizable pooling stays int8
    assert compiled.refused() == []


def test_the_call_decides(quantized, x):
    compiled = pt2q.compile(quantized)
    assert compiled(x).dtype is pt2q.float32
    with pt2q.autocast("cpu"):
        assert compiled(x).dtype is pt2q.bfloat16
        assert isinstance(compiled(x.numpy()), np.ndarray)
    assert compiled(x).dtype is pt2q.float32


def test_pointwise_inherits_bfloat16(x):
    """Without quantize behind it a layer gives bfloat16, which what follows passes on."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x):
            y = self.conv(x)
            return nn.functional.gelu(y) * 0.5 + pt2q.sigmoid(y)

    net = Net().eval()
    exported = pt2q.export.export(net, (x,)).module()
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    prepared(x)
    with pt2q.autocast("cpu"):
        compiled = pt2q.compile(convert_pt2e(prepared))
        y = compiled(x)
    assert y.dtype is pt2q.bfloat16
    steps = compiled.steps(x)
    assert next(s for s in steps if s["op"] == "pt2q.qconv.default")["dtype"] == "uint8 -> bfloat16"
    assert not [s for s in steps if s["kernel"] == "reference"]
    expected = net(x)
    assert np.linalg.norm(y.float().numpy() - expected.numpy()) < 0.05 * np.linalg.norm(expected.numpy())


def test_float_modules_compile_to_bfloat16(model, x):
    compiled = pt2q.compile(model)
    expected = compiled(x)
    with pt2q.autocast("cpu"):
        got = compiled(x)
        steps = compiled.steps(x)
    assert expected.dtype is pt2q.float32 and got.dtype is pt2q.bfloat16
    assert np.linalg.norm(got.float().numpy() - expected.numpy()) < 0.02 * np.linalg.norm(expected.numpy())
    layers = [s for s in steps if s["kernel"].startswith("onednn") and s["flops"] > 0]
    assert len(layers) == 3
    if pt2q._core._native_bfloat16():
        assert all("bf16" in s["kernel"] and s["dtype"] == "bfloat16" for s in layers), layers
