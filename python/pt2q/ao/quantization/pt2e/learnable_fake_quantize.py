"""LearnableFakeQuantize, at torchao's path."""

from pt2q.ao.quantization.fake_quantize import (
    LearnableFakeQuantize,
    disable_range_learning,
    enable_range_learning,
)

__all__ = ["LearnableFakeQuantize", "disable_range_learning", "enable_range_learning"]
