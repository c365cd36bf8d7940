"""Reductions and cumulative sums."""

import torch


def cases(c):
    for name in ["sum", "mean"]:
        dims = "sum.dim_IntList" if name == "sum" else "mean.dim"
        c.add(name, c.randn(2, 3, 4))
        c.add(name, c.randn(3, 2), dtype=torch.float64)
        for dim in [[0], [1], [-1], [0, 2], [], None]:
            c.add(dims, c.randn(2, 3, 4), dim)
            c.add(dims, c.randn(2, 3, 4), dim, True)
        c.add(dims, c.randn(2, 3, 4, 4), [2, 3], True)
        c.add(dims, c.randn(2, 3, 4, 4).to(memory_format=torch.channels_last), [-1, -2])
        c.add(dims, c.randn(2, 8, dtype=torch.bfloat16), [1])
        c.add(dims, c.randn(0, 3), [1])
        c.error(dims, "ValueError", c.randn(2, 3), [0, 0])
        c.error(dims, "IndexError", c.randn(2, 3), [2])
    c.add("sum", c.ints(-9, 9, 2, 3, dtype=torch.int32))
    c.add("sum", c.bools(7))
    c.add("sum.dim_IntList", c.bools(3, 4), [1])
    c.add("sum.dim_IntList", c.randn(3, 0), [1])
    c.error("mean", "TypeError", c.ints(0, 5, 3))
    c.add("mean", c.ints(0, 5, 3), dtype=torch.float32)
    c.add("prod", c.randn(2, 3))
    c.add("prod", c.ints(1, 4, 5))
    c.add("prod.dim_int", c.randn(2, 3), 1, True)
    truth(c)
    variance(c)
    norms(c)
    for name in ["cumsum", "cumprod"]:
        for dim in [0, 1, -1]:
            c.add(name, c.randn(2, 3, 4), dim)
        c.add(name, c.ints(0, 4, 3, 2, dtype=torch.int32), 0)
        c.add(name, c.bools(5), 0)
    c.add("cumsum", c.randn(5), 0, dtype=torch.float64)


def truth(c):
    for name in ["all", "any"]:
        c.add(name, c.bools(2, 3))
        c.add(name, c.ints(0, 2, 2, 3))
        c.add(name, torch.ones(3, dtype=torch.uint8))
        c.add(name, c.bools(0, 3))
        c.add(f"{name}.dim", c.bools(2, 3), 1)
        c.add(f"{name}.dim", c.randn(2, 3), 0, True)
        c.add(f"{name}.dims", c.bools(2, 3, 2), [0, 2])


def variance(c):
    for name in ["var", "std"]:
        c.add(name, c.randn(2, 3))
        c.add(name, c.randn(2, 3), False)
        c.add(f"{name}.dim", c.randn(2, 3, 4), [1], True, True)
        c.add(f"{name}.dim", c.randn(2, 3, 4), [0, 2], False)
        c.add(f"{name}.correction", c.randn(2, 3, 4), [1])
        c.add(f"{name}.correction", c.randn(2, 3, 4), None, correction=0, keepdim=True)
        c.add(f"{name}.correction", c.randn(2, 3, 4), [-1], correction=2)


def norms(c):
    for order in [2, 1, 0, 3.5, float("inf"), float("-inf")]:
        c.add("linalg_vector_norm", c.randn(2, 3, 4), order, [1], True)
    c.add("linalg_vector_norm", c.randn(2, 3))
    c.add("linalg_vector_norm", c.randn(2, 3), 2, [0, 1], False, dtype=torch.float64)
    c.add("norm.Scalar", c.randn(2, 3))
    c.add("norm.Scalar", c.randn(2, 3), 1)
    c.add("norm.ScalarOpt_dim", c.randn(2, 3), 2, [1], True)
    c.add("logsumexp", c.randn(2, 3), [1])
    c.add("logsumexp", c.randn(2, 3, 4), [0, 2], True)
    c.add("logsumexp", torch.tensor([float("-inf"), float("-inf")]), [0])
