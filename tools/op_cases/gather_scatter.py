"""gather, scatter, searchsorted."""

import torch


def cases(c):
    x = c.randn(3, 4, 5)
    for dim, shape in [(0, (2, 4, 5)), (1, (3, 6, 5)), (-1, (2, 3, 4))]:
        c.add("gather", x, dim, c.ints(0, 3, *shape))
        index = c.ints(0, 3, *shape)
    c.add("gather", c.randn(), 0, torch.tensor([0]), symbolic=False)
    c.add("gather", c.ints(0, 9, 3), 0, torch.tensor([2, 0, 2, 1]))
    c.error("gather", "IndexError", c.randn(3), 0, torch.tensor([3]))
    c.error("gather", "IndexError", c.randn(3), 0, torch.tensor([-1]))
    c.error("gather", "ValueError", x, 0, c.ints(0, 3, 2, 4))
    c.error("gather", "ValueError", x, 0, c.ints(0, 3, 2, 5, 5))
    for dim in [0, 1, 2]:
        index = torch.argsort(c.randn(3, 3, 3), dim)
        c.add("scatter.src", x, dim, index, c.randn(3, 4, 5))
        c.add("scatter.value", x, dim, index, 2.5)
        c.add("scatter_add", x, dim, c.ints(0, 3, 2, 4, 3), c.randn(3, 4, 5))
    c.add("scatter.value", c.ints(0, 9, 5), 0, torch.tensor([1, 4]), 7)
    c.error("scatter.value", "IndexError", c.randn(3), 0, torch.tensor([3]), 1)
    c.error("scatter.src", "ValueError", c.randn(3), 0, torch.tensor([0, 1]), c.randn(1))
    edges = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    for right in [False, True]:
        c.add("bucketize.Tensor", torch.tensor([-2.0, -1.0, 0.2, 0.5, 9.0]), edges, right=right)
        c.add("searchsorted.Tensor", edges, c.randn(2, 3), right=right)
    c.add("bucketize.Tensor", c.randn(3), edges, out_int32=True)
    c.add("searchsorted.Tensor", torch.tensor([[1, 3, 5], [2, 4, 6]]), torch.tensor([[3, 9], [0, 4]]))
    c.add("searchsorted.Tensor", edges, torch.tensor([0.5]), side="right")
    c.error("searchsorted.Tensor", "ValueError", c.randn(2, 3), c.randn(3, 3))
