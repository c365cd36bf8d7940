"""torchao.quantization.pt2e.quantizer.utils."""

from pt2q.ao.quantization.quantizer.utils import *  # noqa: F403
