"""addcmul, addcdiv, lerp."""

import torch


def cases(c):
    for name in ["addcmul", "addcdiv"]:
        c.add(name, c.randn(2, 3), c.randn(2, 3), c.rand(2, 3, low=0.5, high=2))
        c.add(name, c.randn(2, 3), c.randn(3), c.rand(2, 1, low=0.5, high=2), value=0.3)
        c.add(name, c.randn(2, 3, dtype=torch.float64), c.randn(3, dtype=torch.float64),
              c.rand(3, low=1, high=2, dtype=torch.float64), value=-2)
    c.add("addcmul", c.ints(0, 9, 3), c.ints(0, 9, 3), c.ints(0, 9, 3), value=2)
    c.error("addcdiv", "TypeError", c.ints(0, 9, 3), c.ints(0, 9, 3), c.ints(1, 9, 3))
    c.add("lerp.Scalar", c.randn(2, 3), c.randn(2, 3), 0.3)
    c.add("lerp.Scalar", c.randn(2, 3), c.randn(3), 0.8)
    c.add("lerp.Tensor", c.randn(2, 3), c.randn(2, 3), c.rand(3))
