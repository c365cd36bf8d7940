"""``torch.quantization.observer``: the older path of ``pt2q.ao.quantization.observer``."""

from pt2q.ao.quantization.observer import *  # noqa: F403
