"""torchao.quantization.granularity under this package's name."""

from pt2q.ao.quantization._affine_types import (
    Granularity,
    PerAxis,
    PerBlock,
    PerGroup,
    PerRow,
    PerTensor,
    PerToken,
)

__all__ = ["Granularity", "PerAxis", "PerBlock", "PerGroup", "PerRow", "PerTensor", "PerToken"]
