"""Losses."""

import torch


def cases(c):
    for name in ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss"]:
        for reduction in [0, 1, 2]:
            c.add(name, c.randn(2, 3), c.randn(2, 3), reduction)
    c.add("smooth_l1_loss", c.randn(2, 3), c.randn(2, 3), 1, 0.5)
    c.add("kl_div", c.randn(2, 3), c.rand(2, 3))
    c.add("kl_div", c.randn(2, 3), c.randn(2, 3), 2, log_target=True)
    c.add("binary_cross_entropy", c.rand(2, 3, low=0.1, high=0.9), c.rand(2, 3))
    c.add("binary_cross_entropy", c.rand(2, 3, low=0.1, high=0.9), c.rand(2, 3), c.rand(3), 2)
    c.add("binary_cross_entropy", torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]), None, 0)
    c.add("binary_cross_entropy_with_logits", c.randn(2, 3), c.rand(2, 3))
    c.add("binary_cross_entropy_with_logits", c.randn(2, 3), c.rand(2, 3), c.rand(3), c.rand(3), 0)
    c.error("binary_cross_entropy", "ValueError", c.rand(2, 3), c.rand(2))
    classes(c)


def classes(c):
    x, t = c.randn(4, 5), torch.tensor([0, 4, -100, 2])
    for reduction in [0, 1, 2]:
        c.add("cross_entropy_loss", x, t, None, reduction)
        c.add("cross_entropy_loss", x, t, c.rand(5), reduction, -100, 0.1)
        c.add("nll_loss", x, t, c.rand(5), reduction)
        c.add("nll_loss_forward", x, t, None, reduction, -100)
    c.add("cross_entropy_loss", c.randn(2, 3, 4), c.ints(0, 3, 2, 4))
    c.add("cross_entropy_loss", c.randn(5), torch.tensor(3))
    for reduction in [0, 1, 2]:
        c.add("cross_entropy_loss", x, c.rand(4, 5), c.rand(5), reduction, -100, 0.1)
    c.add("nll_loss_nd", c.randn(2, 3, 4), c.ints(0, 3, 2, 4))
    c.error("cross_entropy_loss", "ValueError", x, c.ints(0, 3, 3))
    c.error("cross_entropy_loss", "IndexError", x, torch.tensor([0, 1, 2, 9]))
