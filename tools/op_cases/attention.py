"""scaled_dot_product_attention: masks, causal, grouped heads."""

import torch

NAME = "scaled_dot_product_attention"


def cases(c):
    q, k, v = c.randn(2, 2, 3, 4), c.randn(2, 2, 5, 4), c.randn(2, 2, 5, 4)
    c.add(NAME, q, k, v)
    c.add(NAME, q, k, v, None, 0.0, True)
    c.add(NAME, q, k, v, None, 0.0, False, scale=0.3)
    mask = c.bools(3, 5)
    mask[:, 0] = True
    c.add(NAME, q, k, v, mask)
    c.add(NAME, q, k, v, mask, 0.0, True)
    c.add(NAME, q, k, v, c.randn(2, 1, 3, 5))
    blocked = torch.ones(3, 5, dtype=torch.bool)
    blocked[1] = False
    c.add(NAME, q, k, v, blocked)
    c.add(NAME, c.randn(2, 4, 3, 4), k, v, enable_gqa=True)
    c.add(NAME, c.randn(3, 4), c.randn(5, 4), c.randn(5, 2))
    c.add(NAME, c.randn(2, 3, 4), c.randn(2, 5, 4), c.randn(2, 5, 6))
    c.add(NAME, *(c.randn(1, 2, 3, 4, dtype=torch.bfloat16) for _ in range(3)), tolerance=2e-2)
    c.error(NAME, "ValueError", q, c.randn(2, 2, 5, 3), v)
    c.error(NAME, "TypeError", q, k, v.double())
