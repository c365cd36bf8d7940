"""``torch.quantization.stubs``: the older path of ``pt2q.ao.quantization.stubs``."""

from pt2q.ao.quantization.stubs import *  # noqa: F403
