"""Interpolation."""

SHAPES = {1: ((2, 2, 5), [8], [3], [1.7]), 2: ((1, 2, 4, 5), [7, 3], [2, 10], [2.0, 1.5]),
          3: ((1, 2, 3, 2, 3), [4, 5, 2], [3, 1, 6], [2.0, 1.5, 0.7])}


def cases(c):
    for n, (shape, up, down, scales) in SHAPES.items():
        for name in [f"upsample_nearest{n}d", f"_upsample_nearest_exact{n}d"]:
            for size in (up, down):
                c.add(name, c.randn(*shape), size)
                c.add(f"{name}.vec", c.randn(*shape), size, None)
            c.add(f"{name}.vec", c.randn(*shape), None, scales)
            c.add(name, c.randn(*shape), up, *scales)
    for name, n in [("upsample_linear1d", 1), ("upsample_bilinear2d", 2), ("upsample_trilinear3d", 3),
                    ("upsample_bicubic2d", 2)]:
        shape, up, down, scales = SHAPES[n]
        for corners in [False, True]:
            for size in (up, down):
                c.add(name, c.randn(*shape), size, corners)
            c.add(f"{name}.vec", c.randn(*shape), up, corners, None)
            c.add(f"{name}.vec", c.randn(*shape), None, corners, scales)
    c.error("upsample_nearest2d.vec", "ValueError", c.randn(1, 2, 3, 3), None, None)
    c.error("upsample_nearest2d", "ValueError", c.randn(2, 3, 3), [4, 4])
    c.error("upsample_nearest2d", "ValueError", c.randn(1, 2, 3, 3), [0, 4])
