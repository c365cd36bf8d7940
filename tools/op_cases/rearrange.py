"""flip, roll, repeat, pixel_shuffle and friends."""

import torch


def cases(c):
    x = c.randn(2, 3, 4)
    c.add("flip", x, [0, -1])
    c.add("flip", x, [])
    c.error("flip", "ValueError", x, [0, 0])
    c.add("roll", x, [1], [0])
    c.add("roll", x, [-1, 2], [1, -1])
    c.add("roll", x, [5])
    c.add("roll", c.bools(5), [2], [0])
    c.error("roll", "ValueError", x, [1, 2], [0])
    c.add("repeat", x, [2, 1, 3])
    c.add("repeat", x, [2, 1, 1, 2])
    c.add("repeat", x, [1, 1, 1])
    c.add("repeat", c.randn(3), [0, 2])
    c.error("repeat", "ValueError", x, [2, 2])
    c.add("tile", x, [2])
    c.add("tile", x, [2, 1, 1, 2])
    c.add("repeat_interleave.self_int", x, 2, 1)
    c.add("repeat_interleave.self_int", x, 3)
    c.add("repeat_interleave.self_int", x, 2, -1)
    c.add("pixel_shuffle", c.randn(2, 8, 2, 3), 2)
    c.add("pixel_shuffle", c.randn(4, 2, 3), 2)
    c.add("pixel_unshuffle", c.randn(2, 2, 4, 6), 2)
    c.error("pixel_shuffle", "ValueError", c.randn(1, 3, 2, 2), 2)
    c.error("pixel_unshuffle", "ValueError", c.randn(1, 3, 3, 2), 2)
    c.add("channel_shuffle", c.randn(2, 6, 2, 2), 3)
    c.add("slice_scatter", x, c.randn(2, 2, 4), 1, 0, 3, 2)
    c.add("slice_scatter", x, c.randn(2, 3, 2), -1, -2)
    c.add("select_scatter", x, c.randn(2, 4), 1, 2)
    c.error("slice_scatter", "ValueError", x, c.randn(2, 3, 4), 1, 0, 2)
    for name in ["hstack", "vstack"]:
        c.add(name, [c.randn(3), c.randn(3)])
        c.add(name, [c.randn(2, 3), c.randn(2, 3)])
    c.add("hstack", [c.randn(), c.randn(2)], symbolic=False)
