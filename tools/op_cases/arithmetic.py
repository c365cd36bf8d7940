"""Binary arithmetic: broadcasting, promotion, Python numbers, rounding modes."""

import torch

PAIRS = ["add", "sub", "mul", "div"]
ALIASES = {"mul": "multiply.Tensor", "sub": "subtract.Tensor", "div": ["divide.Tensor", "true_divide.Tensor"]}


def cases(c):
    for name in PAIRS:
        basic(c, name)
    for name in ["add", "sub", "rsub"]:
        c.add(f"{name}.Tensor", c.randn(2, 3), c.randn(2, 3), alpha=2)
        c.add(f"{name}.Tensor", c.randn(2, 3), c.randn(3), alpha=0.5)
        c.add(f"{name}.Tensor", c.ints(-5, 5, 4), c.ints(-5, 5, 4), alpha=3)
        c.add(f"{name}.Scalar", c.randn(2, 3), 1.5, 2)
        c.error(f"{name}.Tensor", "ValueError", c.randn(2, 3), c.randn(2, 4))
    c.add("rsub.Scalar", c.ints(-5, 5, 4), 3)
    c.add("add.Tensor", c.bools(4), c.bools(4))
    c.add("mul.Tensor", c.bools(4), c.bools(4))
    c.add("add.Tensor", c.ints(0, 255, 8, dtype=torch.uint8), c.ints(0, 255, 8, dtype=torch.uint8))
    c.add("mul.Tensor", c.ints(-128, 127, 8, dtype=torch.int8), c.ints(-128, 127, 8, dtype=torch.int8))
    modular(c)
    power(c)
    for name in ["maximum", "minimum", "max.other", "min.other", "atan2", "logaddexp", "hypot",
                 "copysign.Tensor", "xlogy.Tensor", "fmax", "fmin"]:
        c.add(name, c.randn(2, 3), c.randn(1, 3))
    c.add("maximum", torch.tensor([1.0, float("nan"), 2.0]), torch.tensor([float("nan"), 1.0, 3.0]))
    for name in ["fmax", "fmin"]:
        c.add(name, torch.tensor([1.0, float("nan"), 2.0]), torch.tensor([float("nan"), 1.0, 3.0]))
    c.add("xlogy.Tensor", torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, float("nan"), 2.0]))
    c.add("minimum", c.ints(-9, 9, 5), c.ints(-9, 9, 5, dtype=torch.int32))
    c.add("logaddexp", torch.tensor([float("-inf"), 0.0]), torch.tensor([float("-inf"), 1.0]))


def basic(c, name):
    names = [f"{name}.Tensor"] + [n for n in [ALIASES.get(name, [])] if isinstance(n, str)]
    if isinstance(ALIASES.get(name), list):
        names += ALIASES[name]
    c.add(names, c.randn(2, 3, 4), c.rand(2, 3, 4, low=0.5, high=2))
    t = f"{name}.Tensor"
    c.add(t, c.randn(2, 1, 4), c.rand(3, 1, low=0.5, high=2))
    c.add(t, c.randn(0, 3), c.randn(1, 3))
    c.add(t, c.randn(2, 3), c.rand(low=1, high=2))
    c.add(t, c.ints(-9, 9, 2, 3), c.ints(1, 9, 2, 3))
    c.add(t, c.ints(-9, 9, 2, 3, dtype=torch.int32), c.rand(3, low=1, high=2))
    c.add(t, c.ints(-9, 9, 2, 3, dtype=torch.int8), c.ints(1, 9, 3, dtype=torch.uint8))
    c.add(t, c.randn(2, 3, dtype=torch.bfloat16), c.rand(2, 3, low=1, high=2, dtype=torch.bfloat16))
    c.add(t, c.randn(2, 3, dtype=torch.float64), c.rand(2, 3, low=1, high=2))
    c.add(t, c.randn(2, 3), torch.tensor(2.5, dtype=torch.float64))
    c.add(t, c.ints(0, 9, 3), torch.tensor(2.5, dtype=torch.float64))
    c.add(t, c.randn(1, 3, 2, 2).to(memory_format=torch.channels_last), c.rand(1, 3, 1, 1, low=1, high=2))
    c.add(t, c.randn(2, 3), 1.5)
    c.add(t, c.ints(-9, 9, 4), 2)
    c.add(t, c.ints(-9, 9, 4), 0.5)
    s = f"{name}.Scalar"
    c.add(s, c.randn(2, 3), 0.3)
    c.add(s, c.randn(2, 3, dtype=torch.bfloat16), 0.3)
    c.add(s, c.ints(-9, 9, 4, dtype=torch.int32), 3)
    c.add(s, c.ints(-9, 9, 4), 0.3)
    c.error(t, "ValueError", c.randn(2, 3), c.randn(4))


def modular(c):
    x, y = c.randn(6, scale=5), torch.tensor([2.0, -2.0, 1.5, -1.5, 3.0, 0.7])
    a, b = torch.tensor([7, -7, 7, -7, 0, 5]), torch.tensor([3, 3, -3, -3, 4, 5])
    for name in ["remainder", "fmod"]:
        c.add(f"{name}.Tensor", x, y)
        c.add(f"{name}.Tensor", a, b)
        c.add(f"{name}.Scalar", x, 2.5)
        c.add(f"{name}.Scalar", a, -3)
    for mode in [None, "floor", "trunc"]:
        c.add("div.Tensor_mode", x, y, rounding_mode=mode)
        c.add("div.Tensor_mode", a, b, rounding_mode=mode)
        c.add("div.Scalar_mode", x, 2.5, rounding_mode=mode)
        c.add("div.Scalar_mode", a, 3, rounding_mode=mode)
    c.add("floor_divide", x, y)
    c.add("floor_divide", a, b)
    c.add("floor_divide.Scalar", a, 3)


def power(c):
    for exponent in [2, 3, 0.5, -1, 2.5, 0]:
        c.add("pow.Tensor_Scalar", c.rand(2, 3, low=0.1, high=3), exponent)
    c.add("pow.Tensor_Scalar", c.ints(-4, 4, 6), 3)
    c.add("pow.Tensor_Scalar", c.ints(-4, 4, 6), 0.0 + 2.0)
    c.add("pow.Tensor_Tensor", c.rand(2, 3, low=0.1, high=3), c.randn(3))
    c.add("pow.Tensor_Tensor", c.ints(-4, 4, 6), c.ints(0, 4, 6))
    c.add("pow.Scalar", 2.0, c.randn(5))
    c.add("pow.Scalar", 2, c.ints(0, 6, 5))
