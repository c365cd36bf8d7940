"""``torch.ao.nn``: fused and quantized modules."""

from pt2q.ao.nn import intrinsic as intrinsic
from pt2q.ao.nn import quantized as quantized
