"""Size queries."""


def cases(c):
    c.add("sym_size.int", c.randn(2, 3), -1)
    c.add("sym_size.int", c.randn(2, 3), 0)
    c.add("sym_numel", c.randn(2, 3))
    c.error("sym_size.int", "IndexError", c.randn(2, 3), 2)
