"""Every layer computes what PyTorch's layer of the same name computes with the same weights.

Tolerance 1e-5 relative to the largest output: both sum float32 products in another order.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn as theirs

import pt2q
from pt2q import nn as ours

LAYERS = [
    ("Conv1d", (4, 6, 3), {"padding": 1}, (2, 4, 9)),
    ("Conv2d", (4, 6, 3), {"stride": 2, "padding": 1}, (2, 4, 9, 8)),
    ("Conv2d", (4, 8, (3, 1)), {"groups": 2, "dilation": 2, "bias": False}, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, 3), {"padding": "same"}, (2, 4, 7, 7)),
    ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "reflect"}, (2, 4, 7, 7)),
    ("Conv3d", (2, 3, 3), {"padding": 1}, (1, 2, 4, 5, 6)),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (2, 4, 5, 5)),
    ("Linear", (5, 7), {}, (3, 5)),
    ("Linear", (5, 7), {"bias": False}, (2, 3, 5)),
    ("BatchNorm1d", (4,), {}, (3, 4)),
    ("BatchNorm2d", (4,), {"eps": 1e-3}, (2, 4, 3, 3)),
    ("BatchNorm2d", (4,), {"affine": False}, (2, 4, 3, 3)),
    ("LayerNorm", (6,), {}, (2, 3, 6)),
    ("GroupNorm", (2, 4), {}, (2, 4, 3, 3)),
    ("ReLU", (), {}, (2, 5)),
    ("ReLU6", (), {}, (2, 5)),
    ("Hardtanh", (-0.5, 0.7), {}, (2, 5)),
    ("Hardswish", (), {}, (2, 5)),
    ("SiLU", (), {}, (2, 5)),
    ("GELU", (), {}, (2, 5)),
    ("GELU", (), {"approximate": "tanh"}, (2, 5)),
    ("LeakyReLU", (0.2,), {}, (2, 5)),
    ("Sigmoid", (), {}, (2, 5)),
    ("Tanh", (), {}, (2, 5)),
    ("Softmax", (1,), {}, (2, 5)),
    ("LogSoftmax", (1,), {}, (2, 5)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1}, (2, 3, 8, 8)),
    ("MaxPool2d", (3,), {"stride": 2, "ceil_mode": True}, (2, 3, 8, 8)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, (2, 3, 8, 8)),
    ("AdaptiveAvgPool2d", ((1, 1),), {}, (2, 3, 8, 8)),
    ("AdaptiveAvgPool2d", ((3, 2),), {}, (2, 3, 8, 7)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Dropout", (0.5,), {}, (2, 5)),
    ("Identity", (), {}, (2, 5)),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS, ids=lambda v: str(v)[:40])
def test_layer_equals_torch(name, args, kwargs, shape):
    torch.manual_seed(0)
    theirs_layer = getattr(theirs, name)(*args, **kwargs).eval()
    with torch.no_grad():
        for buffer in theirs_layer.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    ours_layer = getattr(ours, name)(*args, **kwargs).eval()
    state = {k: v.numpy() for k, v in theirs_layer.state_dict().items()}
    assert list(ours_layer.state_dict()) == list(state)
    ours_layer.load_state_dict(state)
    x = torch.randn(shape)
    expected = theirs_layer(x).detach().numpy()
    result = ours_layer(pt2q.from_numpy(x.numpy())).numpy()
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy(reduction):
    logits, target = torch.randn(6, 5), torch.tensor([0, 4, 2, 1, 1, 3])
    expected = theirs.CrossEntropyLoss(reduction=reduction)(logits, target).numpy()
    loss = ours.CrossEntropyLoss(reduction=reduction)
    result = loss(pt2q.from_numpy(logits.numpy()), pt2q.from_numpy(target.numpy())).numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_repr_equals_torch():
    for name, args, kwargs, _ in LAYERS:
        assert repr(getattr(ours, name)(*args, **kwargs)) == repr(getattr(theirs, name)(*args, **kwargs))
