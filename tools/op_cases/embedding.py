"""Table look-ups."""

import torch


def cases(c):
    c.add("embedding", c.randn(5, 3), c.ints(0, 5, 4), symbolic=True)
    c.add("embedding", c.randn(5, 3), c.ints(0, 5, 2, 2, dtype=torch.int32), 0)
    c.add("embedding", c.randn(5, 3), c.ints(0, 5, 0))
    c.error("embedding", "IndexError", c.randn(5, 3), torch.tensor([5]))
    c.error("embedding", "IndexError", c.randn(5, 3), torch.tensor([-1]))
    c.error("embedding", "TypeError", c.randn(5, 3), c.randn(2))
    bags(c)


def bags(c):
    name = "embedding_bag.padding_idx"
    w, i, o = c.randn(5, 3), torch.tensor([0, 2, 4, 1, 1, 3]), torch.tensor([0, 2, 2])
    for mode in [0, 1, 2]:
        for padding in [None, 1]:
            c.add(name, w, i, o, False, mode, False, None, False, padding)
            c.add("_embedding_bag", w, i, o, False, mode, False, None, False, -1 if padding is None else 1)
    c.add(name, w, i, o, False, 0, False, c.rand(6), False, None)
    c.add(name, w, i, o, False, 0, False, c.rand(6), False, 1)
    c.add(name, w, i, torch.tensor([0, 2, 2, 6]), False, 0, False, None, True, None)
    c.error(name, "ValueError", w, i, o, False, 1, False, c.rand(6), False, None)
