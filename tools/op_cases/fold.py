"""im2col and col2im."""


def cases(c):
    c.add("im2col", c.randn(2, 3, 4, 5), [2, 2], [1, 1], [0, 0], [1, 1])
    c.add("im2col", c.randn(1, 2, 5, 6), [3, 2], [1, 2], [1, 0], [2, 1])
    c.add("im2col", c.randn(2, 4, 4), [2, 2], [1, 1], [0, 0], [2, 2])
    c.add("col2im", c.randn(2, 12, 12), [4, 5], [2, 2], [1, 1], [0, 0], [1, 1])
    c.add("col2im", c.randn(1, 12, 12), [5, 6], [3, 2], [1, 2], [1, 0], [2, 1])
    c.add("col2im", c.randn(8, 4), [4, 4], [2, 2], [1, 1], [0, 0], [2, 2])
    c.error("im2col", "ValueError", c.randn(1, 2, 2, 2), [3, 3], [1, 1], [0, 0], [1, 1])
    c.error("col2im", "ValueError", c.randn(2, 12, 11), [4, 5], [2, 2], [1, 1], [0, 0], [1, 1])
