"""torchao.quantization.pt2e.quantizer.x86_inductor_quantizer."""

from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import *  # noqa: F403
