"""torchao.quantization.pt2e.quantizer.composable_quantizer."""

from pt2q.ao.quantization.quantizer.composable_quantizer import *  # noqa: F403
