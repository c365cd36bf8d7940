"""Quantized forms of fused modules."""

from pt2q.ao.nn.quantized.activation import BNReLU2d, BNReLU3d
from pt2q.ao.nn.quantized.conv import ConvReLU1d, ConvReLU2d, ConvReLU3d
from pt2q.ao.nn.quantized.linear import LinearReLU

__all__ = ["BNReLU2d", "BNReLU3d", "ConvReLU1d", "ConvReLU2d", "ConvReLU3d", "LinearReLU"]
