"""Operators that return their input in inference."""

import torch


def cases(c):
    x = c.randn(2, 3, 2, 2)
    for name in ["dropout", "feature_dropout"]:
        c.add(name, x, 0.5, False)
        c.add(name, x, 0.0, True)
        c.add(name, x, 1.0, True)
        c.add(name, x, 0.3, True, values=False)
    c.error("dropout", "ValueError", x, 1.5, True)
    c.add("native_dropout", x, 0.5, False)
    c.add("native_dropout", x, 0.5, True, values=False)
    for name in ["alias", "detach", "lift_fresh_copy", "contiguous", "clone"]:
        c.add(name, x)
    c.add("contiguous", x, memory_format=torch.channels_last)
    c.add("clone", x, memory_format=torch.channels_last)
    c.add("clone", x.transpose(0, 1), memory_format=torch.contiguous_format)
    c.add("_assert_tensor_metadata", x, [2, 3, 2, 2], None, torch.float32)
    c.error("_assert_tensor_metadata", "RuntimeError", x, None, None, torch.float64)
    c.add("_assert_async.msg", torch.tensor(True), "message")
    c.error("_assert_async.msg", "RuntimeError", torch.tensor(False), "message")
    c.add("_assert_scalar", True, "message")
    c.error("_assert_scalar", "RuntimeError", False, "message")
