"""var_mean, aminmax, median, histograms, distances, weight norm."""

import torch


def cases(c):
    for name in ["var_mean", "std_mean"]:
        c.add(f"{name}.correction", c.randn(2, 3, 4), [1], correction=0, keepdim=True)
        c.add(f"{name}.correction", c.randn(2, 3, 4))
        c.add(f"{name}.dim", c.randn(2, 3, 4), [0, 2], False)
    c.add("aminmax", c.randn(2, 3))
    c.add("aminmax", c.randn(2, 3), dim=1, keepdim=True)
    c.add("count_nonzero", c.ints(0, 2, 2, 3))
    c.add("count_nonzero", c.bools(2, 3), 1)
    c.add("count_nonzero.dim_IntList", c.ints(0, 2, 2, 3, 2).float(), [0, 2])
    c.add("histc", c.randn(20), 5)
    c.add("histc", c.randn(20), 4, -1, 1)
    c.add("histc", torch.ones(3), 4)
    c.error("histc", "ValueError", torch.tensor([float("nan"), 1.0]), 4)
    c.error("histc", "ValueError", c.randn(3), 0)
    c.add("median", torch.tensor([3.0, 1.0, 4.0, 2.0]))
    c.add("median", torch.tensor([[3, 1], [5, 2], [4, 0]]))
    c.add("median", torch.tensor([1.0, float("nan"), 2.0]))
    c.add("median.dim", torch.tensor([[3.0, 1.0, 2.0, 7.0], [6.0, 5.0, 4.0, 0.0]]), 1)
    c.add("median.dim", torch.tensor([[3.0, 1.0], [6.0, 5.0], [0.0, 9.0]]), 0, True)
    distances(c)
    differences(c)
    for dim in [0, 1, -1]:
        g = c.rand(*(([4, 1, 1] if dim == 0 else [1, 3, 1]) if dim >= 0 else []))
        c.add("_weight_norm", c.randn(4, 3, 2), g, dim)
    c.error("_weight_norm", "ValueError", c.randn(4, 3), c.rand(5, 1), 0, stricter=True)


def distances(c):
    c.add("cosine_similarity", c.randn(2, 3, 4), c.randn(2, 3, 4))
    c.add("cosine_similarity", c.randn(2, 3), c.randn(1, 3), -1, 1e-6)
    c.add("cosine_similarity", torch.zeros(2, 3), c.randn(2, 3))
    c.add("pairwise_distance", c.randn(2, 3), c.randn(2, 3))
    c.add("pairwise_distance", c.randn(2, 3), c.randn(1, 3), 1.0, 1e-4, True)
    c.add("cdist", c.randn(2, 3, 4), c.randn(5, 4))
    c.add("cdist", c.randn(3, 4), c.randn(2, 4), 1.0)
    c.error("cdist", "ValueError", c.randn(3, 4), c.randn(2, 3))
    c.add("outer", c.randn(3), c.randn(2))
    c.error("outer", "ValueError", c.randn(3, 1), c.randn(2))


def differences(c):
    c.add("diff", c.randn(5))
    c.add("diff", c.ints(-9, 9, 3, 4), 2, 0)
    c.add("diff", c.randn(2, 3, 4), 1, 1)
    c.add("diff", c.bools(6))
    c.add("diff", c.randn(3), 7)  # more often than there are elements
    c.add("diff", c.randn(3), 0)
    c.add("diff", c.randn(2, 3), 1, -1, c.randn(2, 2), c.randn(2, 1))
    c.add("diff", c.randn(2, 3), 2, 0, None, c.randn(1, 3))
    c.add("diff", c.ints(0, 9, 4), prepend=torch.tensor([-1]))
    c.error("diff", "ValueError", torch.tensor(1.0))
    c.error("diff", "ValueError", c.randn(3), -1)
    c.error("diff", "ValueError", c.randn(2, 3), 1, -1, c.randn(3, 1))
