"""torchao.quantization.pt2e.fake_quantize."""

from pt2q.ao.quantization.fake_quantize import *  # noqa: F403
