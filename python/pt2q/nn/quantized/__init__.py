"""``torch.nn.quantized``: the older path of :mod:`pt2q.ao.nn.quantized`."""

from pt2q.ao.nn.quantized import *  # noqa: F403
from pt2q.ao.nn.quantized import __all__ as __all__
