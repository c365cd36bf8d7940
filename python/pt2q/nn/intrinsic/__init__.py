"""``torch.nn.intrinsic``: the older path of :mod:`pt2q.ao.nn.intrinsic`."""

from pt2q.ao.nn.intrinsic import *  # noqa: F403
from pt2q.ao.nn.intrinsic import __all__ as __all__
from pt2q.ao.nn.intrinsic import quantized as quantized
