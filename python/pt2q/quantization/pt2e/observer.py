"""torchao.quantization.pt2e.observer."""

from pt2q.ao.quantization.observer import *  # noqa: F403
