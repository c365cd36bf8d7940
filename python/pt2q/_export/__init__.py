"""The capture function of the older tutorials."""

from __future__ import annotations

from typing import Any

from pt2q._core import GraphModule
from pt2q.export import Dim, export
from pt2q.export._dynamic import DynamicDim

__all__ = ["capture_pre_autograd_graph", "dynamic_dim"]


def dynamic_dim(t: Any, index: int) -> DynamicDim:
    """Marks dimension ``index`` of the example input ``t`` as dynamic, for ``constraints=``."""
    return DynamicDim(t, index)


def capture_pre_autograd_graph(
    f: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    constraints: list[DynamicDim] | None = None,
    dynamic_shapes: Any = None,
) -> GraphModule:
    """The graph of a model, as ``export(model, args).module()``."""
    if constraints:
        dynamic_shapes = _shapes_of(args, constraints)
    return export(f, args, kwargs, dynamic_shapes=dynamic_shapes).module()


def _shapes_of(args: tuple[Any, ...], constraints: list[DynamicDim]) -> tuple[Any, ...]:
    dims: list[dict[int, Any]] = [{} for _ in args]
    for n, constraint in enumerate(constraints):
        for i, arg in enumerate(args):
            if arg is constraint.tensor:
                dims[i][constraint.index] = Dim(f"dim{n}")
    return tuple(d or None for d in dims)
