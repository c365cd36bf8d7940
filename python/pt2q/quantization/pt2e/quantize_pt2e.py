"""torchao.quantization.pt2e.quantize_pt2e."""

from pt2q.ao.quantization.quantize_pt2e import *  # noqa: F403
