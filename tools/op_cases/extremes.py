"""max, min, argmax, amax, topk, sort."""

import torch


def distinct(c, *sizes, dtype=torch.float32):
    n = 1
    for s in sizes:
        n *= s
    return (torch.randperm(n, generator=c.generator).reshape(sizes) - n // 2).to(dtype)


def cases(c):
    for name in ["max", "min"]:
        c.add(name, c.randn(2, 3))
        c.add(name, c.ints(-9, 9, 5, dtype=torch.int32))
        c.add(name, torch.tensor([1.0, float("nan"), 2.0]))
        for dim in [0, 1, -1]:
            c.add(f"{name}.dim", distinct(c, 2, 3, 4), dim)
            c.add(f"{name}.dim", distinct(c, 2, 3, 4), dim, True)
        c.add(f"{name}.dim", torch.tensor([[2.0, 2.0, 1.0], [1.0, 1.0, 2.0]]), 1)
        c.add(f"{name}.dim", torch.tensor([[1.0, float("nan"), 2.0]]), 1)
        c.add(f"arg{name}", distinct(c, 2, 3))
        c.add(f"arg{name}", distinct(c, 2, 3), 1, True)
        c.add(f"arg{name}", distinct(c, 2, 3, dtype=torch.int64), 0)
        c.error(name, "ValueError", c.randn(0))
        c.error(f"{name}.dim", "ValueError", c.randn(2, 0), 1)
    for name in ["amax", "amin"]:
        c.add(name, c.randn(2, 3, 4), [0, 2])
        c.add(name, c.randn(2, 3, 4), [-1], True)
        c.add(name, c.randn(2, 3, 4))
    c.add("topk", distinct(c, 2, 6), 3)
    c.add("topk", distinct(c, 4, 3), 2, 0, False)
    c.add("topk", distinct(c, 5, dtype=torch.int32), 5)
    c.error("topk", "ValueError", c.randn(3), 4)
    for descending in [False, True]:
        c.add("sort", distinct(c, 3, 4), 1, descending)
        c.add("sort", distinct(c, 3, 4), 0, descending)
        c.add("argsort", distinct(c, 3, 4), -1, descending)
    c.add("sort", torch.tensor([1.0, float("nan"), 0.5]))
    c.add("sort", torch.tensor([1.0, float("nan"), 0.5]), 0, True)
