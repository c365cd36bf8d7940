"""Pointwise activations."""

import torch

FLOAT = ["silu", "mish", "log_sigmoid", "hardswish", "hardsigmoid", "selu", "elu", "celu", "softplus",
         "hardshrink", "softshrink", "leaky_relu", "gelu"]
ANY = ["relu", "relu6", "hardtanh", "sigmoid", "tanh"]


def cases(c):
    for name in FLOAT + ANY:
        c.add(name, c.randn(2, 3, 4, scale=4))
        c.add(name, c.randn(0, 3))
        c.add(name, c.randn(5, dtype=torch.float64, scale=3))
        c.add(name, c.randn(6, dtype=torch.bfloat16, scale=3))
        c.add(name, c.randn(1, 3, 2, 2).to(memory_format=torch.channels_last))
    for name in ["relu", "relu6"]:
        c.add(name, c.ints(-9, 9, 6))
        c.add(name, c.ints(-9, 9, 6, dtype=torch.int8))
        c.add(name, torch.tensor([float("nan"), -1.0, float("inf"), float("-inf")]))
    for name in ["sigmoid", "tanh"]:
        c.add(name, c.ints(-3, 3, 6))
        c.add(name, torch.tensor([-100.0, 100.0, float("inf"), float("-inf"), float("nan")]))
    c.add("hardtanh", c.randn(8, scale=4), -2.5, 1.5)
    c.add("hardtanh", c.randn(8, scale=4), 0, 6)
    c.add("hardtanh", torch.tensor([float("nan"), float("inf")]))
    c.add("leaky_relu", c.randn(8), 0.2)
    c.add("gelu", c.randn(8, scale=2), approximate="tanh")
    c.add("gelu", c.randn(8, scale=2), approximate="none")
    c.add("rrelu", c.randn(8))
    c.add("rrelu", c.randn(8), 0.2, 0.4)
    c.add("elu", c.randn(8), 0.7, 1.2, 0.9)
    c.add("celu", c.randn(8), 1.7)
    c.add("softplus", c.randn(8, scale=10), 2, 10)
    c.add("threshold", c.randn(8), 0.1, 20.0)
    c.add("threshold", c.ints(-5, 5, 8), 1, 7)
    c.add("hardshrink", c.randn(8), 0.8)
    c.add("softshrink", c.randn(8), 0.8)
    c.add("prelu", c.randn(2, 3, 2, 2), c.rand(3))
    c.add("prelu", c.randn(2, 3), c.rand(1))
    c.add("prelu", c.randn(4), c.rand(1))
    c.error("prelu", "ValueError", c.randn(2, 3), c.rand(2))
    for dim in [-1, 0, 1]:
        c.add("glu", c.randn(2, 4, 6), dim)
    c.error("glu", "ValueError", c.randn(2, 3), -1)
    c.error("gelu", "ValueError", c.randn(3), approximate="erf")
