"""Conversions between dtypes."""

import torch

ALL = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16,
       torch.int32, torch.int64, torch.bool]


def cases(c):
    x = torch.tensor([0.0, 0.5, 1.5, 2.5, 100.25, 7.99])
    for dtype in ALL:
        c.add("to.dtype", x, dtype)
        c.add("_to_copy", x.to(torch.int64), dtype=dtype)
        c.add("to.dtype", x.to(dtype), torch.float32)
    c.add("to.dtype", c.randn(2, 3), torch.float32)
    c.add("to.dtype", torch.tensor([-1.5, -2.5]), torch.int8)
    c.add("to.device", c.randn(2), torch.device("cpu"), torch.float64)
    c.add("to.dtype_layout", c.randn(2), dtype=torch.float64)
    c.add("to.dtype_layout", c.randn(2), dtype=torch.bool, device=torch.device("cpu"))
    c.add("to.other", c.randn(2), c.ints(0, 5, 1))
    c.add("type_as", c.randn(2), c.ints(0, 5, 1))
    c.add("_to_copy", c.randn(1, 2, 2, 2), memory_format=torch.channels_last)
