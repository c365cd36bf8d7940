"""torchao.quantization.pt2e.export_utils."""

from pt2q.ao.quantization.pt2e.export_utils import *  # noqa: F403
