"""executorch.backends.xnnpack.quantizer.xnnpack_quantizer_utils."""

from pt2q.ao.quantization.quantizer.xnnpack_quantizer_utils import *  # noqa: F403
