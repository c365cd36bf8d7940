"""Table look-ups."""

import torch


def cases(c):
    c.add("embedding", c.randn(5, 3), c.ints(0, 5, 4), symbolic=True)
    c.add("embedding", c.randn(5, 3), c.ints(0, 5, 2, 2, dtype=torch.int32), 0)
    c.add("embedding", c.randn(5, 3), c.ints(0, 5, 0))
    c.error("embedding", "IndexError", c.randn(5, 3), torch.tensor([5]))
    c.error("embedding", "IndexError", c.randn(5, 3), torch.tensor([-1]))
    c.error("embedding", "TypeError", c.randn(5, 3), c.randn(2))
