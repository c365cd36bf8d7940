"""Comparing a float model with its prepared, converted or compiled form, operator by operator.

The names and results of ``torchao.quantization.pt2e._numeric_debugger``::

    ep = export(model, example_inputs)
    reference = prepare_for_propagation_comparison(ep.module())
    actual = prepare_for_propagation_comparison(quantized)   # also a compiled model
    reference(x), actual(x)
    results = compare_results(extract_results_from_loggers(reference), extract_results_from_loggers(actual))

``pt2q.debug.sqnr_report`` does this for a whole data set and prints a table.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pt2q import _core
from pt2q._core import OutputLogger, Tensor

__all__ = [
    "CUSTOM_KEY",
    "FROM_NODE_KEY",
    "NUMERIC_DEBUG_HANDLE_KEY",
    "NodeAccuracySummary",
    "NodeSourceDebugInfo",
    "OutputLogger",
    "QuantizationComparisonResult",
    "compare_results",
    "extract_results_from_loggers",
    "generate_numeric_debug_handle",
    "prepare_for_propagation_comparison",
]

NUMERIC_DEBUG_HANDLE_KEY = "numeric_debug_handle"
CUSTOM_KEY = "custom"
FROM_NODE_KEY = "from_node"


@dataclass(frozen=True)
class NodeSourceDebugInfo:
    """The node of the exported program that a node stands for."""

    name: str
    graph_id: int


def generate_numeric_debug_handle(ep: Any) -> None:
    """Give every operator of an exported program a number in ``meta["custom"]["numeric_debug_handle"]``.

    Numbers that exist are kept; new ones start after the largest.

    Raises:
        ValueError: ``ep`` is no ExportedProgram.
    """
    from pt2q.export import ExportedProgram

    if not isinstance(ep, ExportedProgram):
        raise _core.ValueError(f"Expected ep to be ExportedProgram, got {type(ep)}")
    _core._generate_numeric_debug_handle(ep.graph_module)


def _graph_module(model: Any) -> _core.GraphModule:
    if isinstance(model, _core.GraphModule):
        return model
    graph = getattr(model, "graph_module", None)  # compiled models and exported programs
    if isinstance(graph, _core.GraphModule):
        return graph
    raise _core.ValueError(
        f"expected a captured, prepared, converted or compiled model, got {type(model).__name__}"
    )


def prepare_for_propagation_comparison(model: Any) -> _core.GraphModule:
    """A copy of ``model`` with an OutputLogger behind every operator of the exported program.

    Args:
        model: a GraphModule (captured, prepared or converted) or what ``pt2q.compile`` returns. Integer
            results of a compiled model are logged as the numbers they stand for.
    """
    logged = copy.deepcopy(_graph_module(model))
    _core._insert_output_loggers(logged)
    return logged


def extract_results_from_loggers(
    model: _core.GraphModule,
) -> dict[NodeSourceDebugInfo, tuple[str | None, object, list[Any]]]:
    """{debug info: (node name, module stack, outputs)} of all loggers that have seen data."""
    results: dict[NodeSourceDebugInfo, tuple[str | None, object, list[Any]]] = {}
    for logger in _core._output_loggers(model):
        stats = logger.stats
        if stats:
            source = NodeSourceDebugInfo(logger._source.name, logger._source.graph_id)
            results[source] = (logger.node_name, logger.nn_module_stack, stats)
    return results


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array_interface__")


def _same_shapes(x: Any, y: Any) -> bool:
    if _is_tensor(x) and _is_tensor(y):
        return tuple(x.shape) == tuple(y.shape)
    if isinstance(x, (list, tuple)) and isinstance(y, (list, tuple)):
        return len(x) == len(y) and all(_same_shapes(a, b) for a, b in zip(x, y))
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(_same_shapes(x[k], y[k]) for k in x)
    return type(x) is type(y) and bool(x == y)


def _apply(loss: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    if _is_tensor(x) and _is_tensor(y):
        import pt2q

        return loss(pt2q.as_tensor(x).to(_core.float32), pt2q.as_tensor(y).to(_core.float32))
    if isinstance(x, (list, tuple)) and isinstance(y, (list, tuple)):
        return type(x)([_apply(loss, a, b) for a, b in zip(x, y)])
    if isinstance(x, dict) and isinstance(y, dict):
        return {key: _apply(loss, value, y[key]) for key, value in x.items()}
    return None


def _scalar(value: float) -> Tensor:
    import pt2q

    return pt2q.tensor(value, dtype=_core.float32)


def _mse(actual: Tensor, ref: Tensor) -> Tensor:
    return _scalar(_core._difference(actual, ref).mse)


def _sqnr(actual: Tensor, ref: Tensor) -> Tensor:
    return _scalar(_core._difference(actual, ref).sqnr)


@dataclass(frozen=True)
class QuantizationComparisonResult:
    """Two outputs of one operator: tensors, or nested lists, tuples and dicts of tensors.

    Raises:
        ValueError: the two have different shapes or structures, or are no tensors.
    """

    actual: Any
    ref: Any

    def __post_init__(self) -> None:
        for name, value in (("actual", self.actual), ("ref", self.ref)):
            if not _is_tensor(value) and not isinstance(value, (list, tuple, dict)):
                raise _core.ValueError(
                    f"`self.{name}` value must be a Tensor, list, tuple or dict, got: {value}"
                )
        if not _same_shapes(self.ref, self.actual):
            raise _core.ValueError(
                f"Cannot compare tensors with different shapes: ref={self.ref} vs actual={self.actual}"
            )

    @property
    def mse_loss(self) -> Any:
        """Mean of the squared differences."""
        return self.loss(_mse)

    @property
    def sqnr(self) -> Any:
        """20·log10(‖actual‖ / ‖actual - ref‖) in dB."""
        return self.loss(_sqnr)

    def loss(self, loss_function: Callable[[Tensor, Tensor], Any]) -> Any:
        """``loss_function(actual, ref)`` on float32 tensors; the structure of the outputs is kept."""
        return _apply(loss_function, self.actual, self.ref)

    def __repr__(self) -> str:
        return f"QuantizationComparisonResult(mse_loss={self.mse_loss}, sqnr={self.sqnr})"


@dataclass(frozen=True)
class NodeAccuracySummary:
    """The results of one operator, one per call."""

    debug_info: NodeSourceDebugInfo
    actual_node_name: str
    actual_module_stack: str
    ref_node_name: str
    ref_module_stack: str
    results: Sequence[QuantizationComparisonResult]


def _innermost(stack: object) -> str:
    if isinstance(stack, dict) and stack:
        return str(list(stack.values())[-1][0])
    return str(stack)


def compare_results(
    ref_results: dict[NodeSourceDebugInfo, tuple[str | None, object, list[Any]]],
    actual_results: dict[NodeSourceDebugInfo, tuple[str | None, object, list[Any]]],
) -> dict[NodeSourceDebugInfo, NodeAccuracySummary]:
    """The results of two models side by side, for operators that both have.

    Raises:
        ValueError: outputs of one operator have different shapes; the message names both nodes.
    """
    comparisons = {}
    for info, (ref_name, ref_stack, ref_stats) in ref_results.items():
        if info not in actual_results:
            continue
        actual_name, actual_stack, actual_stats = actual_results[info]
        try:
            results = [
                QuantizationComparisonResult(actual=a, ref=r) for a, r in zip(actual_stats, ref_stats)
            ]
        except _core.ValueError as error:
            raise _core.ValueError(
                f"For debug_info={info} from ref node {ref_name} and actual node {actual_name}: {error}"
            ) from error
        comparisons[info] = NodeAccuracySummary(
            debug_info=info,
            actual_node_name=actual_name or "",
            actual_module_stack=_innermost(actual_stack),
            ref_node_name=ref_name or "",
            ref_module_stack=_innermost(ref_stack),
            results=results,
        )
    return comparisons
