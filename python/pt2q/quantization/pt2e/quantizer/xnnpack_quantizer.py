"""torchao.quantization.pt2e.quantizer.xnnpack_quantizer."""

from pt2q.ao.quantization.quantizer.xnnpack_quantizer import *  # noqa: F403
