"""``torch.quantization.qconfig``: the older path of ``pt2q.ao.quantization.qconfig``."""

from pt2q.ao.quantization.qconfig import *  # noqa: F403
