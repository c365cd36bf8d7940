"""torch.fx.graph_module."""

from pt2q._core import GraphModule

__all__ = ["GraphModule"]
