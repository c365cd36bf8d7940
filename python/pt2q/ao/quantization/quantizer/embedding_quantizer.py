"""EmbeddingQuantizer, at PyTorch's path."""

from pt2q._core import EmbeddingQuantizer, get_embedding_operators_config

__all__ = ["EmbeddingQuantizer", "get_embedding_operators_config"]
