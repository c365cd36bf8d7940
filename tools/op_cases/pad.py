"""Padding."""



def cases(c):
    x = c.randn(2, 3, 4)
    for pad in [[1, 2], [1, 0, 2, 1], [-1, 1], [0, 0, 0, 0, 1, 1], [-1, -2], []]:
        c.add("constant_pad_nd", x, pad, 1.5)
        c.add("pad", x, pad)
    c.add("constant_pad_nd", c.ints(0, 9, 2, 3), [1, 1], 7)
    c.add("pad", x, [1, 1], "constant", float("-inf"))
    c.add("pad", x, [2, 1], "reflect")
    c.add("pad", x, [5, 1], "replicate")
    c.add("pad", x, [4, 1], "circular")
    image = c.randn(1, 2, 3, 4)
    for mode in ["reflect", "replicate", "circular"]:
        c.add("pad", image, [2, 1, 1, 2], mode)
    c.add("reflection_pad1d", x, [2, 1])
    c.add("replication_pad1d", x, [2, 5])
    c.add("reflection_pad2d", image, [2, 1, 1, 2])
    c.add("replication_pad2d", image, [2, 1, 1, 2])
    volume = c.randn(1, 2, 3, 4, 3)
    c.add("reflection_pad3d", volume, [1, 1, 2, 1, 1, 0])
    c.add("replication_pad3d", volume, [1, 1, 2, 1, 1, 0])
    c.error("pad", "ValueError", x, [4, 1], "reflect")
    c.error("pad", "ValueError", x, [1, 1, 1])
    c.error("constant_pad_nd", "ValueError", x, [-3, -3])
    c.error("pad", "NotImplementedError", x, [1, 1], "mirror")
