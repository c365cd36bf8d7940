"""torch.fx.graph."""

from pt2q._core import Graph

__all__ = ["Graph"]
