"""Triangles, eye, meshgrid, one_hot."""

import torch


def cases(c):
    for name in ["tril", "triu"]:
        for diagonal in [0, 1, -1]:
            c.add(name, c.randn(3, 4), diagonal)
        c.add(name, c.bools(2, 3, 3))
        c.error(name, "ValueError", c.randn(3))
        c.add(f"{name}_indices", 3, 4)
        c.add(f"{name}_indices", 4, 2, -1)
        c.add(f"{name}_indices", 3, 3, 1, dtype=torch.int32)
    c.add("eye", 3)
    c.add("eye", 2, dtype=torch.int64)
    c.add("eye.m", 2, 3)
    for indexing in ["ij", "xy"]:
        c.add("meshgrid.indexing", [c.randn(2), c.randn(3)], indexing=indexing)
        c.add("meshgrid.indexing", [c.randn(2), c.randn(3), c.randn(1)], indexing=indexing)
    c.add("meshgrid", [c.randn(2), c.randn(3)])
    c.error("meshgrid", "TypeError", [c.randn(2), c.ints(0, 5, 3)])
    c.add("one_hot", c.ints(0, 4, 2, 3), 5)
    c.error("one_hot", "TypeError", c.randn(2), 5)
    c.error("one_hot", "ValueError", torch.tensor([5]), 5)
