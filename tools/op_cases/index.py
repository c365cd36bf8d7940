"""Advanced indexing."""

import torch


def cases(c):
    x = c.randn(4, 5, 6)
    i, j = torch.tensor([0, 3, -1]), torch.tensor([[1], [-5]])
    c.add("index.Tensor", x, [i])
    c.add("index.Tensor", x, [i, i])
    c.add("index.Tensor", x, [i, j])
    c.add("index.Tensor", x, [None, i])
    c.add("index.Tensor", x, [None, i, j])
    c.add("index.Tensor", x, [i, None, j])
    c.add("index.Tensor", x, [None, None, j])
    c.add("index.Tensor", x, [torch.tensor(2)])
    c.add("index.Tensor", x, [torch.tensor([0, 1], dtype=torch.int32)])
    c.add("index.Tensor", c.ints(0, 9, 4, 2), [torch.zeros(0, dtype=torch.int64)])
    c.error("index.Tensor", "IndexError", x, [torch.tensor([4])])
    c.error("index.Tensor", "IndexError", x, [i, i, i, i])
    put(c, x, i, j)
    for dim in [0, 1, -1]:
        c.add("index_select", x, dim, torch.tensor([3, 0, 0]))
    c.add("index_select", c.randn(), 0, torch.tensor([0]))
    c.error("index_select", "IndexError", x, 0, torch.tensor([-1]))
    c.error("index_select", "IndexError", x, 0, torch.tensor([[1]]))
    c.add("index_add", x, 1, torch.tensor([3, 0, 3]), c.randn(4, 3, 6))
    c.add("index_add", x, 0, torch.tensor([3, 0]), c.randn(2, 5, 6), alpha=0.5)
    c.add("index_copy", x, -1, torch.tensor([3, 0]), c.randn(4, 5, 2))
    c.error("index_copy", "ValueError", x, 0, torch.tensor([3, 0]), c.randn(3, 5, 6))
    c.add("index_fill.int_Scalar", x, 1, torch.tensor([3, 0, -1]), 2.5)
    c.error("index_fill.int_Scalar", "IndexError", x, 1, torch.tensor([5]), 2.5)
    masked(c)


def put(c, x, i, j):
    c.add("index_put", x, [i], c.randn(3, 5, 6))
    c.add("index_put", x, [None, i], c.randn(6))
    c.add("index_put", x, [i, None, j], c.randn(2, 3, 5))
    c.add("index_put", x, [torch.tensor([1, 1, 2])], c.randn(3, 5, 6), True)
    c.add("index_put", c.ints(0, 9, 5), [torch.tensor([1, 1, 2])], torch.tensor(3), True)
    c.add("index_put", x, [c.bools(4, 5)], torch.tensor(7.0))
    c.add("index_put", c.randn(4), [torch.tensor([True, False, True, False])], c.randn(2))
    c.error("index_put", "TypeError", x, [i], c.ints(0, 5, 3, 5, 6))


def masked(c):
    c.add("masked_fill.Scalar", c.randn(2, 3), c.bools(2, 3), float("-inf"))
    c.add("masked_fill.Scalar", c.randn(2, 3), c.bools(3), 0)
    c.add("masked_fill.Scalar", c.randn(3), c.bools(2, 1), 1.5)
    c.add("masked_fill.Scalar", c.ints(0, 9, 4), c.bools(4), 5)
    c.add("masked_fill.Scalar", c.randn(2, 3, dtype=torch.bfloat16), c.bools(2, 3), -1e4)
    c.add("masked_fill.Tensor", c.randn(2, 3), c.bools(2, 3), torch.tensor(2.0))
    c.error("masked_fill.Scalar", "TypeError", c.randn(2), c.ints(0, 2, 2), 1)
    c.error("masked_fill.Tensor", "ValueError", c.randn(2), c.bools(2), c.randn(2))
