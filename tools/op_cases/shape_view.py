"""Views: sizes, order of dimensions, parts."""



def cases(c):
    reshapes(c)
    orders(c)
    sizes(c)
    parts(c)


def reshapes(c):
    x = c.randn(2, 3, 4)
    for name in ["view", "reshape", "_unsafe_view"]:
        c.add(name, x, [6, 4])
        c.add(name, x, [2, -1])
        c.add(name, x, [-1])
        c.add(name, x, [2, 1, 3, 2, 2])
        c.add(name, c.randn(0, 3), [3, 0])
        c.error(name, "ValueError", x, [5, -1])
        c.error(name, "ValueError", x, [-1, -1])
    c.add("reshape", x.transpose(0, 1), [6, 4])
    c.add("reshape", x.permute(2, 0, 1), [4, 6])
    c.add(["view_as", "reshape_as"], x, c.randn(4, 6))
    for start, end in [(0, -1), (1, -1), (0, 1), (1, 1), (-2, -1)]:
        c.add("flatten.using_ints", x, start, end)
    c.add("flatten.using_ints", c.randn(), 0, -1)
    c.add("flatten.using_ints", x.transpose(0, 2), 1)
    c.error("flatten.using_ints", "ValueError", x, 2, 1)
    c.add("unflatten.int", c.randn(2, 6), 1, [2, 3])
    c.add("unflatten.int", c.randn(2, 6), -1, [-1, 3])
    c.error("unflatten.int", "ValueError", c.randn(2, 6), 1, [4, 2])
    c.add("ravel", x)


def orders(c):
    x = c.randn(2, 3, 4)
    c.add("permute", x, [2, 0, 1])
    c.add("permute", x, [0, -1, 1])
    c.add("permute", c.randn(1, 3, 2, 2), [0, 2, 3, 1])
    c.error("permute", "ValueError", x, [0, 1])
    c.error("permute", "ValueError", x, [0, 1, 1])
    for name in ["transpose.int", "swapaxes", "swapdims"]:
        c.add(name, x, 0, 2)
        c.add(name, x, -1, -2)
    c.error("transpose.int", "IndexError", x, 0, 3)
    c.add("t", c.randn(2, 3))
    c.add("t", c.randn(3))
    c.error("t", "ValueError", x)
    c.add("numpy_T", x)
    c.add("mT", x)
    c.add("mH", x)
    c.add("movedim.int", x, 0, 2)
    c.add("movedim.int", x, -1, 0)
    c.add("movedim.intlist", x, [0, 1], [2, 0])


def sizes(c):
    x = c.randn(1, 3, 1, 2)
    c.add("squeeze", x)
    for dim in [0, 1, -2]:
        c.add("squeeze.dim", x, dim)
    c.add("squeeze.dims", x, [0, 2])
    c.add("squeeze.dims", x, [1, -2])
    for dim in [0, 2, -1, 4]:
        c.add("unsqueeze", x, dim)
    c.error("unsqueeze", "IndexError", x, 6)
    c.add("expand", x, [2, 3, 4, 2])
    c.add("expand", x, [5, -1, -1, 4, -1])
    c.add("broadcast_to", c.randn(3, 1), [2, 3, 4])
    c.add("expand_as", c.randn(3, 1), c.randn(2, 3, 4))
    c.error("expand", "ValueError", c.randn(3), [2, 4])
    c.error("expand", "ValueError", c.randn(2, 3), [3])


def parts(c):
    x = c.randn(4, 5, 6)
    c.add("slice.Tensor", x, 1, 1, 4)
    c.add("slice.Tensor", x, -1, None, None, 2)
    c.add("slice.Tensor", x, 0, -3, -1)
    c.add("slice.Tensor", x, 2, 1, 9223372036854775807, 3)
    c.add("slice.Tensor", x, 1, 4, 2)
    c.add("slice.Tensor", x)
    c.error("slice.Tensor", "IndexError", x, 3, 0, 1)
    c.add("select.int", x, 0, 1)
    c.add("select.int", x, -1, -2)
    c.add("select.int", x, 1, 4)
    c.error("select.int", "IndexError", x, 1, 5)
    c.add("narrow", x, 1, 1, 3)
    c.add("narrow", x, -1, -3, 2)
    c.error("narrow", "ValueError", x, 1, 3, 3)
    c.add("unfold", x, 1, 2, 2)
    c.add("unfold", x, -1, 3, 1)
    c.error("unfold", "ValueError", x, 0, 5, 1)
    for offset in [0, 1, -2, 7]:
        c.add("diagonal", x, offset, 1, 2, symbolic=False)
    c.add("diagonal", x, 0, 2, 0)
    c.add("as_strided", c.randn(12), [2, 3], [5, 2], 1, symbolic=False, strides=False)
    c.error("as_strided", "ValueError", c.randn(6), [2, 3], [5, 2], 1)
