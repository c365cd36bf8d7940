"""torchao.quantization.pt2e.quantizer.arm_inductor_quantizer."""

from pt2q.ao.quantization.quantizer.arm_inductor_quantizer import *  # noqa: F403
