"""Views that own their memory."""


def cases(c):
    x = c.randn(2, 3, 4)
    c.add("permute_copy", x, [2, 0, 1])
    c.add("permute_copy", x, [0, -1, 1])
    c.error("permute_copy", "ValueError", x, [0, 1])
    c.add("view_copy", x, [6, 4])
    c.add("view_copy", x, [2, -1])
    c.error("view_copy", "ValueError", x, [5, -1])
    y = c.randn(2, 1, 3)
    c.add("squeeze_copy.dim", y, 1)
    c.add("squeeze_copy.dim", y, -1)
    c.error("squeeze_copy.dim", "IndexError", y, 3)
    c.add("slice_copy.Tensor", x, 2, 1, 3)
    c.add("slice_copy.Tensor", x, -1, None, None, 2)
    c.error("slice_copy.Tensor", "ValueError", x, 0, 0, 2, 0)
