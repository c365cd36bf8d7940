"""torchao.quantization.pt2e.lowering."""

from pt2q.ao.quantization.pt2e.lowering import *  # noqa: F403
