"""torchao.quantization.pt2e.quantizer.xpu_inductor_quantizer."""

from pt2q.ao.quantization.quantizer.xpu_inductor_quantizer import *  # noqa: F403
