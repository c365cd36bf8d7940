"""grid_sampler and affine_grid_generator."""


def cases(c):
    for mode in [0, 1, 2]:
        for padding in [0, 1, 2]:
            for corners in [False, True]:
                c.add("grid_sampler", c.randn(1, 2, 4, 5), c.rand(1, 3, 2, 2, low=-1.4, high=1.4), mode,
                      padding, corners, tolerance=2e-5)
    c.add("grid_sampler_2d", c.randn(2, 1, 3, 3), c.rand(2, 2, 2, 2, low=-1, high=1), 0, 0, False)
    c.error("grid_sampler", "ValueError", c.randn(2, 1, 3, 3), c.rand(1, 2, 2, 2), 0, 0, False)
    for corners in [False, True]:
        c.add("affine_grid_generator", c.randn(2, 2, 3), [2, 1, 3, 4], corners)
        c.add("affine_grid_generator", c.randn(1, 3, 4), [1, 1, 2, 3, 2], corners)
    c.error("affine_grid_generator", "ValueError", c.randn(1, 2, 3), [1, 1, 2, 3, 2], False)
