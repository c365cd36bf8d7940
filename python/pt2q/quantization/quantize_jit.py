"""``torch.quantization.quantize_jit``."""

from pt2q.ao.quantization.quantize_jit import *  # noqa: F403
