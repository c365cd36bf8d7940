"""Elementwise functions of one tensor."""

import torch

POSITIVE = ["log", "log2", "log10", "sqrt", "rsqrt"]
ANY = ["exp", "exp2", "expm1", "erf", "erfc", "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh",
       "reciprocal", "deg2rad", "rad2deg", "sinc"]
UNIT = ["asin", "acos", "atanh", "erfinv", "log1p"]
SAME = ["abs", "neg", "square", "sign", "sgn", "absolute", "negative", "ceil", "floor", "trunc",
        "round"]


def cases(c):
    for name in POSITIVE:
        c.add(name, c.rand(2, 3, low=0.01, high=10))
        c.add(name, torch.tensor([0.0, float("inf"), float("nan")]))
        c.add(name, c.ints(1, 20, 5))
        c.add(name, c.rand(5, low=0.5, high=10, dtype=torch.bfloat16))
    for name in ANY:
        c.add(name, c.randn(2, 3))
        c.add(name, c.ints(-3, 3, 5) if name != "reciprocal" else c.ints(1, 4, 5))
        c.add(name, c.randn(5, dtype=torch.float64))
    for name in UNIT:
        c.add(name, c.rand(2, 3, low=-0.99, high=0.99))
    c.add("erfinv", torch.tensor([1.0, -1.0, 0.0, 0.999999]))
    c.add("acosh", c.rand(2, 3, low=1, high=5))
    for name in SAME:
        c.add(name, c.randn(2, 3, scale=3))
        c.add(name, c.ints(-9, 9, 6))
        c.add(name, c.ints(-9, 9, 6, dtype=torch.int32))
        c.add(name, torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -0.0]))
        c.add(name, c.randn(6, dtype=torch.float16))
    c.add("frac", c.randn(6, scale=3))
    c.add("round.decimals", c.randn(6, scale=30), decimals=1)
    c.add("round.decimals", c.randn(6, scale=3000), decimals=-2)
    c.add("logit", c.rand(2, 3, low=0.05, high=0.95))
    c.add("logit", torch.tensor([0.0, 1.0, 0.5, float("nan")]), 1e-3)
    c.add("logit", torch.tensor([0.0, 1.0, 1.5]))
    clamp(c)
    special = torch.tensor([float("nan"), float("inf"), float("-inf"), 1.0])
    c.add("nan_to_num", special)
    c.add("nan_to_num", special, 1.0, 2.0, 3.0)
    c.add("nan_to_num", special.to(torch.float16))
    c.add("nan_to_num", c.ints(0, 5, 3))


def clamp(c):
    x = c.randn(2, 4)
    c.add(["clamp", "clip"], x, -0.5, 0.5)
    c.add("clamp", x, None, 0.5)
    c.add("clamp", x, min=-0.5)
    c.add("clamp", x, 1.0, -1.0)
    c.add("clamp", c.ints(-9, 9, 6), -3, 3)
    c.add("clamp", c.ints(-9, 9, 6), -2.5, 3)
    c.add("clamp", torch.tensor([float("nan"), 5.0]), 0, 1)
    c.add("clamp.Tensor", x, c.randn(4), c.randn(2, 1))
    c.add("clamp.Tensor", x, None, c.randn(4))
    c.add("clamp_min", x, 0.1)
    c.add("clamp_min", c.ints(-9, 9, 6), 2)
    c.add("clamp_max", x, 0.1)
    c.add("clamp_min.Tensor", x, c.randn(4))
    c.add("clamp_max.Tensor", x, c.randn(4))
    c.error("clamp", "ValueError", x)
