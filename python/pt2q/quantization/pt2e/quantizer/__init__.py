"""torchao.quantization.pt2e.quantizer."""

from pt2q.ao.quantization.quantizer import *  # noqa: F403
