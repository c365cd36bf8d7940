"""New tensors and fills."""

import torch


def cases(c):
    for name in ["zeros", "ones"]:
        c.add(name, [2, 3])
        c.add(name, [], dtype=torch.int64)
        c.add(f"{name}_like", c.randn(2, 3))
        c.add(f"{name}_like", c.ints(0, 5, 2), dtype=torch.bool)
        c.add(f"new_{name}", c.ints(0, 5, 2), [3, 1])
        c.add(f"new_{name}", c.randn(2), [2], dtype=torch.int32)
        c.error(name, "ValueError", [2, -1])
    c.add("empty.memory_format", [2, 3], dtype=torch.float64, values=False)
    c.add("empty_permuted", [2, 3], [1, 0], values=False)
    c.add("empty_like", c.randn(2, 3), values=False)
    c.add("new_empty", c.randn(2, 3), [4], values=False)
    for value in [2.5, 3, True]:
        c.add("full", [2, 2], value)
        c.add("full_like", c.randn(3), value)
        c.add("new_full", c.ints(0, 5, 2), [2], 4)
    c.add("full", [2], 3, dtype=torch.float32)
    c.add("full", [2], float("-inf"))
    c.add("scalar_tensor", 2.5)
    c.add("scalar_tensor", 3, dtype=torch.int64)
    ranges(c)
    for name in ["rand", "randn"]:
        c.add(name, [2, 3], values=False)
        c.add(f"{name}_like", c.randn(2, 3), values=False)
    c.add("randint.low", 2, 5, [3], values=False)
    c.add("bernoulli", torch.tensor([0.0, 1.0, 0.0, 1.0]))
    c.add("bernoulli", c.rand(2, 3), values=False)
    c.add("bernoulli.p", c.ints(0, 9, 4), 1.0)
    c.add("bernoulli.p", c.randn(4), 0.25, values=False)
    c.error("bernoulli", "ValueError", torch.tensor([0.5, 1.5]))
    c.error("bernoulli", "TypeError", c.ints(0, 2, 3))
    c.add("randperm", 1)
    c.add("randperm", 5, values=False)
    c.error("randint.low", "ValueError", 5, 5, [3])
    c.add("fill.Scalar", c.randn(2, 3), 1.5)
    c.add("fill.Scalar", c.ints(0, 5, 3), 2)
    c.add("fill.Tensor", c.randn(2, 3), torch.tensor(2))
    c.error("fill.Tensor", "ValueError", c.randn(2, 3), c.randn(1))
    c.add("zero", c.randn(2, 3))
    c.add("copy", c.randn(2, 3), c.ints(0, 9, 3))


def ranges(c):
    c.add("arange", 5)
    c.add("arange", 4.5)
    c.add("arange", 3, dtype=torch.float32)
    c.add("arange", 0)
    c.add("arange.start", 2, 7)
    c.add("arange.start", 0.5, 3)
    c.add("arange.start_step", 1, 10, 3)
    c.add("arange.start_step", 10, 1, -4)
    c.add("arange.start_step", 0, 1, 0.1)
    c.error("arange.start", "ValueError", 7, 2)
    c.error("arange.start_step", "ValueError", 1, 2, 0)
    c.add("linspace", 0, 1, 5)
    c.add("linspace", -1.5, 2.0, 8)
    c.add("linspace", 3, 9, 1)
    c.add("linspace", 0, 10, 4, dtype=torch.int64)
