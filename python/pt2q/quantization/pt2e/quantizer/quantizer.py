"""torchao.quantization.pt2e.quantizer.quantizer."""

from pt2q.ao.quantization.quantizer.quantizer import *  # noqa: F403
