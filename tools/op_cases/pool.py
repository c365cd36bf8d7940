"""Pooling: ceil_mode, count_include_pad, divisor, dilation, adaptive sizes."""

import torch


def cases(c):
    largest(c)
    average(c)
    adaptive(c)


def largest(c):
    for name in ["max_pool2d", "max_pool2d_with_indices"]:
        c.add(name, c.randn(2, 3, 6, 7), [2, 2])
        c.add(name, c.randn(2, 3, 6, 7), [3, 2], [2, 1], [1, 0])
        c.add(name, c.randn(1, 2, 7, 7), [3, 3], [2, 2], [1, 1], [1, 1], True)
        c.add(name, c.randn(1, 2, 5, 5), [2, 2], [2, 2], [0, 0], [1, 1], True)
        c.add(name, c.randn(1, 2, 9, 9), [3, 3], [2, 2], [1, 1], [2, 2])
        c.add(name, c.randn(3, 6, 6), [2, 2])
        c.add(name, c.randn(1, 3, 6, 6).to(memory_format=torch.channels_last), [3, 3], [2, 2], [1, 1])
    c.add("max_pool2d", torch.tensor([[[[1.0, float("nan")], [float("-inf"), float("-inf")]]]]), [1, 2])
    c.add("max_pool2d", c.randn(1, 2, 4, 4, dtype=torch.bfloat16), [2, 2])
    c.add("max_pool2d", c.ints(-9, 9, 1, 2, 4, 4), [2, 2])
    c.add("max_pool2d", c.randn(0, 2, 4, 4), [2, 2])
    for name in ["max_pool1d", "max_pool1d_with_indices"]:
        c.add(name, c.randn(2, 3, 8), [3], [2], [1], [1], True)
    c.add("max_pool1d", c.randn(3, 8), [2])
    for name in ["max_pool3d", "max_pool3d_with_indices"]:
        c.add(name, c.randn(1, 2, 4, 5, 6), [2, 2, 3], [2, 1, 2], [1, 0, 1])
    c.error("max_pool2d", "ValueError", c.randn(1, 2, 4, 4), [2, 2], [2, 2], [2, 2])
    c.error("max_pool2d", "ValueError", c.randn(1, 2, 2, 2), [3, 3])
    c.error("max_pool2d", "ValueError", c.randn(2, 2), [2, 2])


def average(c):
    for ceil_mode in [False, True]:
        for count in [False, True]:
            c.add("avg_pool2d", c.randn(2, 2, 6, 7), [3, 2], [2, 2], [1, 1], ceil_mode, count)
    c.add("avg_pool2d", c.randn(2, 2, 6, 7), [2, 2])
    c.add("avg_pool2d", c.randn(1, 2, 5, 5), [3, 3], [2, 2], [1, 1], True, True, 4)
    c.add("avg_pool2d", c.randn(2, 5, 5), [3, 3], 1)
    c.add("avg_pool2d", c.randn(1, 2, 4, 4, dtype=torch.bfloat16), [2, 2])
    c.add("avg_pool1d", c.randn(2, 3, 8), [3], [2], [1], True, False)
    c.add("avg_pool1d", c.randn(2, 3, 8), [4])
    c.add("avg_pool3d", c.randn(1, 2, 4, 5, 4), [2, 3, 2], [2, 1, 2], [0, 1, 1], False, True, 5)
    c.error("avg_pool2d", "ValueError", c.randn(1, 2, 4, 4), [2, 2], [2, 2], [0, 0], False, True, 0)


def adaptive(c):
    for size in [[1, 1], [3, 2], [7, 9], [5, 5]]:
        c.add(["adaptive_avg_pool2d", "_adaptive_avg_pool2d"] if size[0] != 1 else "adaptive_avg_pool2d",
              c.randn(2, 2, 5, 7), size)
        c.add("adaptive_max_pool2d", c.randn(2, 2, 5, 7), size)
    c.add("adaptive_avg_pool2d", c.randn(2, 5, 7), [2, 2])
    c.add("adaptive_avg_pool2d", c.randn(1, 3, 6, 6).to(memory_format=torch.channels_last), [2, 3])
    c.add("adaptive_avg_pool2d", c.randn(0, 3, 6, 6), [1, 1])
    c.add("adaptive_avg_pool1d", c.randn(2, 3, 7), [4])
    c.add("adaptive_max_pool1d", c.randn(2, 3, 7), [4])
    c.add(["adaptive_avg_pool3d", "_adaptive_avg_pool3d"], c.randn(1, 2, 4, 5, 6), [2, 3, 4])
    c.add("adaptive_max_pool3d", c.randn(1, 2, 4, 5, 6), [2, 3, 4])
    c.error("adaptive_avg_pool2d", "ValueError", c.randn(5), [1, 1])
