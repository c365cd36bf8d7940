"""Comparisons, logic, bits, where."""

import torch


def cases(c):
    for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
        c.add(f"{name}.Tensor", c.ints(0, 3, 2, 3), c.ints(0, 3, 3))
        c.add(f"{name}.Tensor", c.randn(2, 3), c.randn(2, 1))
        c.add(f"{name}.Tensor", c.ints(0, 3, 4), c.rand(4, high=3))
        c.add(f"{name}.Tensor", torch.tensor([float("nan"), 1.0]), torch.tensor([float("nan"), 1.0]))
        c.add(f"{name}.Scalar", c.ints(0, 3, 2, 3), 1)
        c.add(f"{name}.Scalar", c.ints(0, 3, 2, 3), 1.5)
        c.add(f"{name}.Scalar", c.randn(2, 3), 0)
        c.add(f"{name}.Tensor", c.bools(2, 3), c.bools(3))
        c.add(f"{name}.Scalar", c.bools(4), True)
        c.error(f"{name}.Tensor", "ValueError", c.randn(2), c.randn(3))
    for name in ["logical_and", "logical_or", "logical_xor"]:
        c.add(name, c.bools(6), c.bools(6))
        c.add(name, c.ints(0, 2, 6), c.ints(0, 2, 6).float())
    special = torch.tensor([float("nan"), float("inf"), float("-inf"), 0.0, 1.0])
    for name in ["isnan", "isinf", "isfinite", "logical_not"]:
        c.add(name, special)
        c.add(name, c.ints(0, 2, 4))
    bits(c)
    where(c)


def bits(c):
    for name, dunder in [("bitwise_and", "__and__"), ("bitwise_or", "__or__"), ("bitwise_xor", "__xor__")]:
        for n in [name, dunder]:
            c.add(f"{n}.Tensor", c.ints(-9, 9, 2, 3), c.ints(-9, 9, 3))
            c.add(f"{n}.Tensor", c.bools(4), c.bools(4))
            c.add(f"{n}.Scalar", c.ints(-9, 9, 5, dtype=torch.int32), 6)
        c.error(f"{name}.Tensor", "TypeError", c.randn(2), c.randn(2))
    for name, dunder in [("bitwise_left_shift", "__lshift__"), ("bitwise_right_shift", "__rshift__")]:
        c.add(f"{name}.Tensor", c.ints(-9, 9, 5), c.ints(0, 5, 5))
        c.add(f"{name}.Tensor_Scalar", c.ints(-9, 9, 5, dtype=torch.int32), 2)
        c.add(f"{dunder}.Scalar", c.ints(-9, 9, 5), 3)
        c.add(f"{dunder}.Tensor", c.ints(-9, 9, 5), c.ints(0, 5, 5))
    c.add("bitwise_not", c.bools(4))
    c.add("bitwise_not", c.ints(-9, 9, 4))
    c.add("bitwise_not", c.ints(0, 9, 4, dtype=torch.uint8))
    c.error("bitwise_not", "TypeError", c.randn(2))


def where(c):
    c.add("where.self", c.bools(2, 3), c.randn(2, 3), c.randn(3))
    c.add("where.self", c.bools(2, 1), c.randn(3), c.randn(1, 3))
    c.add("where.self", c.bools(3), c.ints(0, 9, 3), c.randn(3))
    c.add("where.ScalarOther", c.bools(2, 3), c.randn(2, 3), float("-inf"))
    c.add("where.ScalarOther", c.bools(3), c.ints(0, 9, 3), 1.5)
    c.add("where.ScalarSelf", c.bools(2, 3), 0, c.randn(2, 3))
    c.add("where.Scalar", c.bools(2, 3), 1.0, 2.0)
    c.add("where.Scalar", c.bools(2, 3), 1, 2)
