"""torchao.quantization.pt2e.learnable_fake_quantize."""

from pt2q.ao.quantization.pt2e.learnable_fake_quantize import *  # noqa: F403
