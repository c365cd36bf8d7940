"""The rest of eager mode against torch.quantization: dynamic layers, training, saved state.

Everything is compared bit for bit: fake-quantized convolutions and linear layers add in float32, but on
tensors this small both sides' plain sums agree; where they might not, a tolerance is stated.
"""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch.ao import quantization as theirs

import pt2q
from pt2q import quantization as ours

ENGINES = [e for e in ("x86", "fbgemm", "onednn") if e in torch.backends.quantized.supported_engines]
FUSED = [["conv", "bn", "relu"], ["fc", "act"]]


def make_model(T):
    nn = T.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.bn = nn.BatchNorm2d(8)
            self.relu = nn.ReLU()
            self.depthwise = nn.Conv2d(8, 8, 3, groups=8, bias=False)
            self.fc = nn.Linear(8, 16)
            self.act = nn.ReLU()
            self.out = nn.Linear(16, 4)

        def forward(self, x):
            x = self.depthwise(self.relu(self.bn(self.conv(x))))
            return self.out(self.act(self.fc(x.mean((2, 3)))))

    return Model()


@pytest.fixture(autouse=True)
def quiet():
    engine = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.backends.quantized.engine = engine


@pytest.fixture
def models():
    torch.manual_seed(3)
    a, b = make_model(torch), make_model(pt2q)
    b.load_state_dict({k: v.numpy() for k, v in a.state_dict().items()})
    return a.eval(), b.eval()


def batches(count=3):
    return [torch.randn(4, 3, 8, 8) for _ in range(count)]


def run(model, x):
    if isinstance(model, torch.nn.Module):
        with torch.no_grad():
            return model(x).numpy()
    return model(pt2q.from_numpy(x.numpy())).numpy()


def same_text(a, b):
    return str(a).replace("torch.", "") == str(b).replace("pt2q.", "").replace("torch.", "")


def trained_pair(models, per_channel=True, fuse=True):
    """Prepared for training, after three forward passes: batch statistics and observers have moved."""
    pair = []
    for model, side in zip(models, (theirs, ours)):
        model.train()
        model = side.fuse_modules_qat(model, FUSED) if fuse else model
        model = side.QuantWrapper(model).train()
        model.qconfig = side.get_default_qat_qconfig("x86" if per_channel else "qnnpack")
        pair.append(side.prepare_qat(model))
    for x in batches():
        a, b = (run(m, x) for m in pair)
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5)  # float sums of 27 products
    return pair


# --- dynamic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (1, 3, 5, 9)])
def test_dynamic_linear_layers(models, engine, shape):
    torch.backends.quantized.engine = engine
    a, b = theirs.quantize_dynamic(models[0]), ours.quantize_dynamic(models[1])
    assert repr(b.fc) == repr(a.fc)
    assert [*b.state_dict()] == [*a.state_dict()]
    x = torch.randn(*shape)
    # One engine adds the bias with, the others without a fused multiply-add: one rounding apart.
    np.testing.assert_allclose(run(b, x), run(a, x), rtol=0, atol=1e-6)


def test_dynamic_by_name_and_per_channel(models):
    spec = {"fc": "per_channel_dynamic_qconfig", "out": "default_dynamic_qconfig"}
    a, b = (
        side.quantize_dynamic(m, {k: getattr(side, v) for k, v in spec.items()})
        for m, side in zip(models, (theirs, ours))
    )
    assert repr(b.fc) == repr(a.fc) and repr(b.out) == repr(a.out)
    (x,) = batches(1)
    np.testing.assert_allclose(run(b, x), run(a, x), rtol=0, atol=1e-6)


def test_dynamic_on_rows_of_any_rank():
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 48)
    mine = pt2q.nn.Linear(64, 48)
    mine.load_state_dict({k: v.numpy() for k, v in linear.state_dict().items()})
    a = theirs.quantize_dynamic(torch.nn.Sequential(linear))
    b = ours.quantize_dynamic(pt2q.nn.Sequential(mine))
    for shape in ((1, 64), (7, 5, 64), (2, 3, 4, 64)):
        x = torch.randn(*shape) * 3
        np.testing.assert_allclose(run(b, x), run(a, x), rtol=0, atol=2e-6)


def test_dynamic_captured_graph_computes_the_same(models):
    quantized = ours.quantize_dynamic(models[1])
    x = pt2q.randn(4, 3, 8, 8)
    graph = pt2q.export.export(quantized, (x,)).module()
    assert any("choose_qparams" in str(n.target) for n in graph.graph.nodes)
    # choose_qparams rounds the scale once more than the eager kernel: at most one step of the input.
    np.testing.assert_allclose(graph(x).numpy(), quantized(x).numpy(), rtol=0, atol=5e-3)


# --- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_training_and_conversion(models, fuse, per_channel):
    a, b = trained_pair(models, per_channel, fuse)
    sa, sb = a.state_dict(), b.state_dict()
    assert [*sb] == [*sa]
    for key, value in sa.items():
        if key.endswith("num_batches_tracked"):  # not counted here: nothing reads it
            continue
        np.testing.assert_allclose(sb[key].numpy(), value.numpy(), rtol=1e-5, atol=1e-6, err_msg=key)
    a, b = theirs.convert(a.eval()), ours.convert(b.eval())
    qa, qb = a.module.conv.weight(), b.module.conv.weight()
    assert np.array_equal(qb.int_repr().numpy(), qa.int_repr().numpy())
    assert b.module.out.scale == pytest.approx(a.module.out.scale, rel=1e-6)
    (x,) = batches(1)
    step = a.module.out.scale
    np.testing.assert_allclose(run(b, x), run(a, x), rtol=0, atol=1.01 * step)


def test_frozen_batch_norms_keep_their_statistics(models):
    from pt2q.ao.nn.intrinsic import qat as nniqat
    from torch.ao.nn.intrinsic import qat as their_nniqat

    a, b = trained_pair(models)
    a.apply(their_nniqat.freeze_bn_stats)
    b.apply(nniqat.freeze_bn_stats)
    before = b.module.conv.bn.running_mean.numpy().copy()
    (x,) = batches(1)
    np.testing.assert_allclose(run(b, x), run(a, x), rtol=0, atol=1e-5)
    assert np.array_equal(b.module.conv.bn.running_mean.numpy(), before)
    b.apply(nniqat.update_bn_stats)
    run(b, x)
    assert not np.array_equal(b.module.conv.bn.running_mean.numpy(), before)


def test_eval_mode_is_refused_by_both(models):
    for model, side in zip(models, (theirs, ours)):
        model.qconfig = side.get_default_qat_qconfig("x86")
        with pytest.raises(AssertionError, match="only works on models in training mode"):
            side.prepare_qat(model)
        model.bn.train()
        with pytest.raises(AssertionError, match="same mode"):
            side.fuse_modules_qat(model, [["conv", "bn"]])


# --- saved state -----------------------------------------------------------------------------------


@pytest.fixture
def converted(models):
    pair = trained_pair(models)
    return [side.convert(m.eval()) for m, side in zip(pair, (theirs, ours))]


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_state_dicts_cross_over(kind, models, converted, tmp_path):
    """A quantized state dict that PyTorch saved loads here, and one saved here loads there."""
    if kind == "static":
        a, b = converted
        other = copy.deepcopy(a)
    else:
        a, b = theirs.quantize_dynamic(models[0].eval()), ours.quantize_dynamic(models[1].eval())
        other = theirs.quantize_dynamic(make_model(torch).eval())
    (x,) = batches(1)
    torch.save(a.state_dict(), tmp_path / "theirs.pth")
    state = pt2q.load(tmp_path / "theirs.pth")
    assert [*state] == [*a.state_dict()]
    assert not b.load_state_dict(state).missing_keys
    tolerance = 1.01 * a.module.out.scale if kind == "static" else 1e-6
    np.testing.assert_allclose(run(b, x), run(a, x), rtol=0, atol=tolerance)

    pt2q.save(b.state_dict(), tmp_path / "ours.pth")
    back = torch.load(tmp_path / "ours.pth", weights_only=True)
    assert [*back] == [*state]
    other.load_state_dict(back)
    np.testing.assert_array_equal(run(other, x), run(a, x))
    again = pt2q.load(tmp_path / "ours.pth")
    for key, value in state.items():
        if isinstance(value, pt2q._core.QuantizedTensor):
            assert np.array_equal(again[key].int_repr().numpy(), value.int_repr().numpy())
            assert again[key].qscheme() is value.qscheme()


def test_quantized_tensors_of_every_dtype_and_scheme(tmp_path):
    x = torch.randn(4, 3, 2)
    state = {
        "u8": torch.quantize_per_tensor(x, 0.1, 3, torch.quint8),
        "s8": torch.quantize_per_tensor(x, 0.05, -2, torch.qint8),
        "s32": torch.quantize_per_tensor(x, 1e-4, 0, torch.qint32),
        "channels": torch.quantize_per_channel(x, torch.rand(3) + 0.1, torch.tensor([0, 1, -1]), 1, torch.qint8),
        "view": torch.quantize_per_tensor(x, 0.1, 3, torch.quint8).permute(2, 0, 1)[1:],
        "plain": x,
        "dtype": torch.qint8,
        "packed": (torch.quantize_per_tensor(x, 0.05, 0, torch.qint8), None),
    }
    torch.save(state, tmp_path / "s.pth")
    loaded = pt2q.load(tmp_path / "s.pth")
    for key in ("u8", "s8", "s32", "channels", "view"):
        a, b = state[key], loaded[key]
        assert str(b.dtype).split(".")[-1] == str(a.dtype).split(".")[-1]
        assert np.array_equal(b.int_repr().numpy(), a.int_repr().numpy()), key
        assert np.array_equal(b.dequantize().numpy(), a.dequantize().numpy()), key
    assert loaded["channels"].q_per_channel_axis() == 1
    assert np.array_equal(loaded["plain"].numpy(), x.numpy())
    assert loaded["dtype"] is pt2q.qint8 and loaded["packed"][1] is None
    assert np.array_equal(loaded["packed"][0].int_repr().numpy(), state["packed"][0].int_repr().numpy())
