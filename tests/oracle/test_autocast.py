"""The dtypes that come out of operators under autocast are PyTorch's, and the values are close.

Both round operands to bfloat16 (8 bits of mantissa) and add products in float32, in another order;
a result may land on the neighbouring bfloat16: 2^-8 relative to the largest output.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pt2q

RNG = np.random.default_rng(0)
ARRAYS = {
    "image": RNG.standard_normal((2, 3, 8, 8)),
    "kernel": RNG.standard_normal((4, 3, 3, 3)),
    "kernel_t": RNG.standard_normal((3, 4, 3, 3)),
    "bias": RNG.standard_normal(4),
    "a": RNG.standard_normal((4, 6)),
    "b": RNG.standard_normal((6, 5)),
    "bt": RNG.standard_normal((5, 6)),
    "a3": RNG.standard_normal((2, 3, 4)),
    "b3": RNG.standard_normal((2, 4, 5)),
    "c": RNG.standard_normal((4, 5)),
    "p": RNG.uniform(0.1, 0.9, (4, 6)),
}

# Expressions in t (torch or pt2q), F (nn.functional) and the arrays; h is `a` in bfloat16.
CASES = [
    "F.conv2d(image, kernel, bias)",
    "F.relu(F.conv2d(image, kernel))",
    "F.conv_transpose2d(image, kernel_t)",
    "F.linear(a, bt)",
    "t.mm(a, b)",
    "t.bmm(a3, b3)",
    "t.matmul(a3, b3)",
    "t.addmm(c, a, b)",
    "h + a",
    "h + h",
    "t.cat([h, h])",
    "F.softmax(h, -1)",
    "F.softmax(a, -1)",
    "F.layer_norm(h, (6,))",
    "F.gelu(h)",
    "F.max_pool2d(F.conv2d(image, kernel), 2)",
    "F.avg_pool2d(F.conv2d(image, kernel), 2)",
    "F.adaptive_avg_pool2d(F.conv2d(image, kernel), 1)",
    "h.mean()",
    "h.sum(1)",
    "F.mse_loss(h, a)",
    "t.prod(h)",
    "t.exp(h)",
    "h ** 2",
    "F.linear(F.relu(F.linear(a, bt)), c)",
]


def evaluate(expression, t, functional, convert):
    names = {name: convert(array.astype(np.float32)) for name, array in ARRAYS.items()}
    names.update(t=t, F=functional, h=names["a"].to(t.bfloat16))
    with t.amp.autocast(device_type="cpu", dtype=t.bfloat16):
        return eval(expression, names)


@pytest.mark.parametrize("expression", CASES)
def test_dtypes_and_values(expression):
    want = evaluate(expression, torch, torch.nn.functional, torch.from_numpy)
    got = evaluate(expression, pt2q, pt2q.nn.functional, pt2q.from_numpy)
    assert str(got.dtype).rsplit(".")[-1] == str(want.dtype).rsplit(".")[-1]
    assert tuple(got.shape) == tuple(want.shape)
    a, b = got.to(pt2q.float32).numpy(), want.float().numpy()
    assert np.abs(a - b).max() <= 2.0**-8 * max(1.0, np.abs(b).max())


class Net:
    """The same small network in both libraries, as compile sees it: float weights, float input."""

    @staticmethod
    def make(nn):
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
        ).eval()  # fmt: skip


def test_compiled_float_model_is_as_close_as_pytorch():
    torch.manual_seed(0)
    theirs = Net.make(torch.nn)
    ours = Net.make(pt2q.nn)
    ours.load_state_dict({k: pt2q.from_numpy(v.numpy()) for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((4, 3, 16, 16)).astype(np.float32)
    with torch.no_grad():
        exact = theirs(torch.from_numpy(x)).numpy()
        with torch.amp.autocast("cpu", dtype=torch.bfloat16):
            peer = theirs(torch.from_numpy(x))
    with pt2q.amp.autocast("cpu", dtype=pt2q.bfloat16):
        got = pt2q.compile(ours)(pt2q.from_numpy(x))
    assert peer.dtype is torch.bfloat16 and got.dtype is pt2q.bfloat16

    def error(y):
        return np.linalg.norm(y - exact) / np.linalg.norm(exact)

    # Fusion rounds less often, never more.
    assert error(got.float().numpy()) <= 1.5 * error(peer.float().numpy())
