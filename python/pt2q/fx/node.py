"""torch.fx.node."""

from pt2q._core import Node

__all__ = ["Node"]
