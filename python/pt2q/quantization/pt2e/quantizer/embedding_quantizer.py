"""torchao.quantization.pt2e.quantizer.embedding_quantizer."""

from pt2q.ao.quantization.quantizer.embedding_quantizer import *  # noqa: F403
