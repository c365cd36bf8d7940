"""torchao.quantization.pt2e._affine_quantization."""

from pt2q.ao.quantization.pt2e._affine_quantization import *  # noqa: F403
