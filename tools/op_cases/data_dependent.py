"""Results whose shape or type depends on the values: no shape inference."""

import torch


def cases(c):
    def add(name, *args):
        c.add(name, *args, infer=False)

    for x in [c.ints(0, 2, 2, 3, 2), c.randn(5), c.bools(3, 4), torch.tensor(3), torch.tensor(0.0), torch.zeros(2, 0)]:
        add("nonzero", x)
    add("nonzero", torch.tensor([float("nan"), 0.0, -0.0]))
    add("masked_select", c.randn(2, 3), c.bools(2, 3))
    add("masked_select", c.randn(2, 3), c.bools(3))
    add("masked_select", c.ints(0, 9, 3), c.bools(2, 1))
    add("masked_select", c.randn(4), torch.zeros(4, dtype=torch.bool))
    c.error("masked_select", "TypeError", c.randn(3), c.ints(0, 2, 3))
    c.error("masked_select", "ValueError", c.randn(3), c.bools(4))
    for name in ["item", "_local_scalar_dense"]:
        for x in [torch.tensor(2.5), torch.tensor([[7]]), torch.tensor(True), torch.tensor(-1, dtype=torch.int8)]:
            add(name, x)
    c.error("item", "RuntimeError", c.randn(2))
