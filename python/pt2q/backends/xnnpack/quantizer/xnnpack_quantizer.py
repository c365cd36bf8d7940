"""executorch.backends.xnnpack.quantizer.xnnpack_quantizer."""

from pt2q.ao.quantization.quantizer.xnnpack_quantizer import *  # noqa: F403
