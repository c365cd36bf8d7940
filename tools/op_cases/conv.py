"""Convolutions: strides, padding, dilation, groups, unbatched, channels_last, transposed."""

import torch


def cases(c):
    forward(c)
    strings(c)
    transposed(c)
    general(c)
    c.error("conv2d", "ValueError", c.randn(1, 3, 4, 4), c.randn(2, 4, 3, 3))
    c.error("conv2d", "ValueError", c.randn(1, 3, 2, 2), c.randn(2, 3, 3, 3))
    c.error("conv2d", "ValueError", c.randn(3, 2), c.randn(2, 3, 3, 3))
    c.error("conv2d", "ValueError", c.randn(1, 3, 4, 4), c.randn(2, 3, 3, 3), c.randn(3))
    c.error("conv2d", "TypeError", c.randn(1, 3, 4, 4), c.randn(2, 3, 3, 3, dtype=torch.float64))
    c.error("conv2d.padding", "ValueError", c.randn(1, 3, 4, 4), c.randn(2, 3, 3, 3), None, [2, 2], "same")


def forward(c):
    c.add("conv2d", c.randn(2, 3, 5, 6), c.randn(4, 3, 3, 3), c.randn(4))
    c.add("conv2d", c.randn(2, 3, 5, 6), c.randn(4, 3, 3, 3), None, [2, 1], [1, 2])
    c.add("conv2d", c.randn(1, 4, 7, 7), c.randn(6, 2, 3, 2), c.randn(6), [1, 2], [2, 0], [2, 1], 2)
    c.add("conv2d", c.randn(1, 5, 6, 6), c.randn(5, 1, 3, 3), c.randn(5), 1, 1, 1, 5)
    c.add("conv2d", c.randn(2, 5, 6, 4), c.randn(3, 5, 1, 1), c.randn(3))
    c.add("conv2d", c.randn(2, 5, 6, 4), c.randn(3, 5, 1, 1), None, 2)
    c.add("conv2d", c.randn(2, 2, 4, 4), c.randn(3, 2, 1, 1), None, 1, 1)
    c.add("conv2d", c.randn(3, 5, 6), c.randn(4, 3, 3, 3), c.randn(4), 1, 1)
    c.add("conv2d", c.randn(0, 3, 5, 6), c.randn(4, 3, 3, 3), c.randn(4))
    c.add("conv2d", c.randn(1, 3, 5, 5).to(memory_format=torch.channels_last),
          c.randn(2, 3, 3, 3).to(memory_format=torch.channels_last), c.randn(2), 2, 1)
    c.add("conv2d", c.randn(1, 2, 4, 4, dtype=torch.float64), c.randn(2, 2, 3, 3, dtype=torch.float64))
    c.add("conv2d", c.randn(1, 2, 4, 4, dtype=torch.bfloat16), c.randn(2, 2, 3, 3, dtype=torch.bfloat16))
    c.add("conv2d", c.ints(-5, 5, 1, 2, 4, 4), c.ints(-5, 5, 2, 2, 3, 3), None, 1, 1)
    c.add("conv1d", c.randn(2, 3, 8), c.randn(4, 3, 3), c.randn(4), 2, 1)
    c.add("conv1d", c.randn(2, 4, 8), c.randn(4, 1, 3), None, 1, 2, 2, 4)
    c.add("conv1d", c.randn(3, 8), c.randn(4, 3, 3))
    c.add("conv3d", c.randn(1, 2, 4, 5, 4), c.randn(3, 2, 2, 3, 2), c.randn(3), [1, 2, 1], [1, 0, 1])
    c.add("conv3d", c.randn(1, 2, 4, 4, 4), c.randn(2, 1, 2, 2, 2), None, 2, 1, 2, 2)


def strings(c):
    c.add("conv1d.padding", c.randn(2, 3, 8), c.randn(4, 3, 4), c.randn(4), 1, "same")
    c.add("conv1d.padding", c.randn(2, 3, 8), c.randn(4, 3, 3), None, 2, "valid")
    c.add("conv2d.padding", c.randn(1, 3, 5, 6), c.randn(2, 3, 3, 2), c.randn(2), 1, "same", [2, 1])
    c.add("conv2d.padding", c.randn(1, 3, 5, 6), c.randn(2, 3, 3, 2), None, [1, 2])
    c.add("conv3d.padding", c.randn(1, 2, 4, 4, 4), c.randn(3, 2, 2, 3, 2), c.randn(3), 1, "same")


def transposed(c):
    c.add("conv_transpose1d", c.randn(2, 3, 5), c.randn(3, 4, 3), c.randn(4), 2, 1, 1)
    c.add("conv_transpose2d.input", c.randn(2, 3, 4, 5), c.randn(3, 2, 3, 3), c.randn(2))
    c.add("conv_transpose2d.input", c.randn(1, 3, 4, 5), c.randn(3, 2, 3, 2), None, [2, 3], [1, 0], [1, 2])
    c.add("conv_transpose2d.input", c.randn(1, 4, 3, 3), c.randn(4, 3, 2, 2), c.randn(6), 2, 0, 0, 2)
    c.add("conv_transpose2d.input", c.randn(1, 4, 3, 3), c.randn(4, 1, 3, 3), None, 1, 1, 0, 4, 2)
    c.add("conv_transpose2d.input", c.randn(3, 4, 4), c.randn(3, 2, 2, 2), c.randn(2), 2)
    c.add("conv_transpose3d.input", c.randn(1, 2, 3, 3, 2), c.randn(2, 3, 2, 2, 2), c.randn(3), [1, 2, 2])
    c.error("conv_transpose2d.input", "ValueError", c.randn(1, 3, 4, 4), c.randn(2, 2, 3, 3))


def general(c):
    c.add("convolution", c.randn(2, 3, 5, 6), c.randn(4, 3, 3, 3), c.randn(4), [1, 1], [1, 1], [1, 1],
          False, [0, 0], 1)
    c.add("convolution", c.randn(2, 4, 8), c.randn(4, 2, 3), None, [2], [1], [1], False, [0], 2)
    c.add("convolution", c.randn(1, 3, 4, 4), c.randn(3, 2, 3, 3), c.randn(2), [2, 2], [1, 1], [1, 1],
          True, [1, 1], 1)
