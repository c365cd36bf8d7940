"""Normalisation."""

import torch


def stats(c, n):
    return c.rand(n, low=0.5, high=2), c.randn(n), c.randn(n), c.rand(n, low=0.5, high=2)


def cases(c):
    batch(c)
    for shape in [(2, 3, 4), (2, 4)]:
        w, b = c.rand(shape[-1], low=0.5, high=2), c.randn(shape[-1])
        c.add("layer_norm", c.randn(*shape), [shape[-1]], w, b)
        c.add("native_layer_norm", c.randn(*shape), [shape[-1]], w, b, 1e-5)
    c.add("layer_norm", c.randn(2, 3, 4), [3, 4], c.rand(3, 4), None, 1e-3)
    c.add("layer_norm", c.randn(2, 3, 4), [4])
    c.add("layer_norm", c.randn(0, 4), [4])
    c.add("layer_norm", c.randn(2, 8, dtype=torch.bfloat16), [8], c.rand(8, dtype=torch.bfloat16),
          c.randn(8, dtype=torch.bfloat16))
    c.add("native_layer_norm", c.randn(2, 3, 4), [3, 4], None, None, 1e-3)
    c.error("layer_norm", "ValueError", c.randn(2, 3), [4])
    c.error("layer_norm", "ValueError", c.randn(2, 4), [4], c.rand(3))
    c.add("rms_norm", c.randn(2, 3, 8), [8], c.rand(8), 1e-6)
    c.add("rms_norm", c.randn(2, 3, 4), [3, 4])
    groups(c)


def batch(c):
    for shape in [(2, 3, 4, 4), (4, 3), (2, 3, 5)]:
        w, b, m, v = stats(c, 3)
        c.add("batch_norm", c.randn(*shape), w, b, m, v, False, 0.1, 1e-5, True)
        c.add("_native_batch_norm_legit_no_training", c.randn(*shape), w, b, m, v, 0.1, 1e-5)
    w, b, m, v = stats(c, 3)
    c.add("batch_norm", c.randn(2, 3, 4), None, None, m, v, False, 0.1, 1e-3, True)
    c.add("batch_norm", c.randn(2, 3, 4), w, b, None, None, True, 0.1, 1e-3, True)
    c.add("batch_norm", c.randn(4, 3, 2, 2), w, b, m, v, True, 0.1, 1e-5, True)
    c.add("batch_norm", c.randn(2, 3, 2, 2, dtype=torch.bfloat16), w, b, m, v, False, 0.1, 1e-5, True)
    c.add("batch_norm", c.randn(2, 3, 2, 2).to(memory_format=torch.channels_last), w, b, m, v, False,
          0.1, 1e-5, True)
    c.add("_native_batch_norm_legit", c.randn(2, 3, 4), w, b, m, v, True, 0.1, 1e-5)
    c.add("_native_batch_norm_legit", c.randn(2, 3, 4), w, b, m, v, False, 0.1, 1e-5)
    c.add("native_batch_norm", c.randn(2, 3, 4), w, b, m, v, True, 0.1, 1e-5)
    c.add("_native_batch_norm_legit.no_stats", c.randn(2, 3, 4), w, b, True, 0.1, 1e-5)
    c.error("batch_norm", "ValueError", c.randn(2, 4, 2), w, b, m, v, False, 0.1, 1e-5, True)
    c.error("batch_norm", "ValueError", c.randn(2, 3, 2), w, b, None, None, False, 0.1, 1e-5, True)


def groups(c):
    c.add("group_norm", c.randn(2, 6, 2, 3), 3, c.rand(6), c.randn(6))
    c.add("group_norm", c.randn(2, 6, 4), 1)
    c.add("group_norm", c.randn(2, 6), 2, c.rand(6), None, 1e-3)
    c.add("native_group_norm", c.randn(2, 6, 2, 3), c.rand(6), c.randn(6), 2, 6, 6, 3, 1e-5)
    c.error("group_norm", "ValueError", c.randn(2, 5, 2), 2)
    w, b, m, v = stats(c, 3)
    c.add("instance_norm", c.randn(2, 3, 4, 2), w, b, None, None, True, 0.1, 1e-5, True)
    c.add("instance_norm", c.randn(2, 3, 4), None, None, None, None, True, 0.1, 1e-5, True)
    c.add("instance_norm", c.randn(2, 3, 4), w, b, m, v, False, 0.1, 1e-5, True)
