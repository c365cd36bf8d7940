"""Graphs under the names of torch.fx."""

from pt2q._core import Graph, GraphModule, Node

__all__ = ["Graph", "GraphModule", "Node"]
