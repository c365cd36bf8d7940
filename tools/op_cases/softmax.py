"""softmax and log_softmax."""

import torch


def cases(c):
    for name in ["softmax", "log_softmax"]:
        for dim in [0, 1, -1]:
            c.add(f"{name}.int", c.randn(2, 3, 4), dim)
        c.add(f"_{name}", c.randn(2, 5), 1, False)
        c.add(f"{name}.int", c.randn(2, 5, scale=100), 1)
        c.add(f"{name}.int", c.randn(2, 5, dtype=torch.bfloat16), 1)
        c.add(f"{name}.int", c.randn(2, 5, dtype=torch.bfloat16), 1, torch.float32)
        c.add(f"{name}.int", c.ints(0, 5, 2, 5), 1, torch.float32)
        c.add(f"{name}.int", c.randn(0, 5), 1)
        c.error(f"{name}.int", "IndexError", c.randn(2, 5), -3)
        c.add(f"{name}.int", torch.tensor([[float("-inf"), 1.0, 2.0]]), -1)
        c.error(f"{name}.int", "IndexError", c.randn(2, 5), 2)
        c.error(f"{name}.int", "TypeError", c.ints(0, 5, 2, 5), 1)
    c.add("_safe_softmax", c.randn(2, 3, 4), 1)
    c.add("_safe_softmax", torch.tensor([[float("-inf")] * 3, [1.0, float("-inf"), 2.0]]), -1)
