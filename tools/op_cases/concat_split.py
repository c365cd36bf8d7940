"""cat, stack, split, chunk, unbind."""

import torch


def cases(c):
    for name in ["cat", "concat"]:
        c.add(name, [c.randn(2, 3), c.randn(2, 1), c.randn(2, 2)], 1)
    c.add("cat", [c.randn(2, 3), c.randn(1, 3)], -2, symbolic=True)
    c.add("cat", [c.randn(2, 3), c.ints(0, 5, 2, 3)])
    c.add("cat", [torch.empty(0), c.randn(2, 3), c.randn(2, 3)], 1, symbolic=False)
    c.add("cat", [c.randn(1, 2, 2, 2).to(memory_format=torch.channels_last),
                  c.randn(1, 3, 2, 2).to(memory_format=torch.channels_last)], 1)
    c.add("cat", [c.bools(3), c.bools(2)])
    c.error("cat", "ValueError", [c.randn(2, 3), c.randn(3, 3)], 1)
    c.error("cat", "ValueError", [])
    c.error("cat", "IndexError", [c.randn(2, 3)], 2)
    for dim in [0, 1, -1]:
        c.add("stack", [c.randn(2, 3), c.randn(2, 3)], dim)
    c.error("stack", "ValueError", [c.randn(2, 3), c.randn(2, 4)])
    x = c.randn(5, 6)
    c.add(["split.Tensor", "unsafe_split.Tensor"], x, 2, symbolic=False)
    c.add("split.Tensor", x, 4, -1)
    c.add("split.Tensor", x, 9, symbolic=False)
    c.add(["split_with_sizes", "split.sizes", "unsafe_split_with_sizes"], x, [1, 2, 3], 1)
    c.add("split_with_sizes", x, [2, 0, 3])
    c.error("split_with_sizes", "ValueError", x, [1, 2], 1)
    for chunks in [1, 2, 3, 4, 7]:
        c.add("chunk", x, chunks, symbolic=chunks not in (4, 7))
        c.add(["chunk", "unsafe_chunk"], x, chunks, -1)
    c.error("chunk", "ValueError", x, 0)
    c.add("tensor_split.sections", x, 4, 1)
    c.add("unbind.int", x, symbolic=False)
    c.add("unbind.int", c.randn(2, 3, 2), -1)
