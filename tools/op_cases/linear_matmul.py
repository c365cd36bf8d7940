"""Matrix products."""

import torch


def cases(c):
    c.add("linear", c.randn(2, 5), c.randn(3, 5), c.randn(3))
    c.add("linear", c.randn(2, 4, 33), c.randn(7, 33))
    c.add("linear", c.randn(5), c.randn(3, 5), c.randn(3))
    c.add("linear", c.randn(0, 5), c.randn(3, 5), c.randn(3))
    c.add("linear", c.randn(2, 2, 3, 5), c.randn(3, 5), c.randn(3))
    c.add("linear", c.randn(2, 5), c.randn(5, 3).t(), c.randn(3))
    c.add("linear", c.randn(2, 5, dtype=torch.bfloat16), c.randn(3, 5, dtype=torch.bfloat16),
          c.randn(3, dtype=torch.bfloat16))
    c.add("linear", c.randn(2, 5, dtype=torch.float64), c.randn(3, 5, dtype=torch.float64))
    c.error("linear", "ValueError", c.randn(2, 4), c.randn(3, 5))
    c.error("linear", "TypeError", c.randn(2, 5), c.randn(3, 5, dtype=torch.float64))
    for a, b in [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
                 ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((2, 1, 2, 3), (5, 3, 4)), ((5, 2, 3), (3,)),
                 ((0, 3), (3, 4)), ((2, 0), (0, 3)), ((3,), (5, 3, 4)), ((9, 17), (17, 6))]:
        c.add("matmul", c.randn(*a), c.randn(*b))
    c.add("matmul", c.ints(-9, 9, 2, 3), c.ints(-9, 9, 3, 2))
    c.add("matmul", c.randn(2, 4, 3).transpose(1, 2), c.randn(2, 5, 4).transpose(1, 2))
    c.error("matmul", "ValueError", c.randn(2, 3), c.randn(4, 3))
    c.error("matmul", "ValueError", c.randn(2, 2, 3), c.randn(3, 3, 3))
    c.add("mm", c.randn(2, 3), c.randn(3, 4))
    c.add("bmm", c.randn(2, 2, 3), c.randn(2, 3, 4))
    c.add("mv", c.randn(2, 3), c.randn(3))
    c.add("dot", c.randn(3), c.randn(3))
    c.error("mm", "ValueError", c.randn(2, 3), c.randn(3))
    c.error("bmm", "ValueError", c.randn(1, 2, 3), c.randn(2, 3, 4))
    c.add("addmm", c.randn(4), c.randn(2, 3), c.randn(3, 4))
    c.add("addmm", c.randn(2, 4), c.randn(2, 3), c.randn(3, 4), beta=0.5, alpha=2)
    c.add("addmm", torch.full((4,), float("nan")), c.randn(2, 3), c.randn(3, 4), beta=0)
    c.add("baddbmm", c.randn(2, 2, 4), c.randn(2, 2, 3), c.randn(2, 3, 4), beta=1, alpha=0.3)
    c.add("addmv", c.randn(2), c.randn(2, 3), c.randn(3))
