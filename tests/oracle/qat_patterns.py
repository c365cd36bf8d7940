"""torchao's QAT patterns, captured once and only when they can match.

prepare_qat_pt2e and convert_pt2e of torchao export 108 small pattern modules anew in every pair of calls,
about half a second each: for conv1d, conv2d and both transposed forms, per tensor and per channel, with
and without bias, in training and in evaluation. Importing this module puts two wrappers into torchao:
a pattern is exported when a graph first asks for it, and kept; a pattern with an operator that the graph
does not have at all is answered with "no match" without being exported. Neither changes a result.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torchao.quantization.pt2e import qat_utils

_capture = qat_utils._get_aten_graph_module_for_pattern
_replace = qat_utils.replace_pattern_with_filters
_captured: dict[Any, torch.fx.GraphModule] = {}


def _is(node: torch.fx.Node, operator: str) -> bool:
    return node.op == "call_function" and (str(node.target) + ".").startswith(operator)


class Pattern:
    """A pattern's module with example inputs: what torchao would have exported at once."""

    def __init__(self, pattern: torch.nn.Module, inputs: tuple[torch.Tensor, ...], is_cuda: bool, kwargs: dict[str, Any]):
        function = pattern.fn
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self.closure = {name: cell.cell_contents for name, cell in cells}
        self.key = (
            function.__code__,
            tuple(str(v) if isinstance(v, float) else v for v in self.closure.values()),
            tuple(tuple(x.shape) for x in inputs),
            tuple((k, tuple(v.shape), v.dtype) for k, v in sorted(kwargs.items())),
            is_cuda,
        )
        self.arguments = (pattern, inputs, is_cuda)
        self.kwargs = kwargs

    def may_match(self, graph: torch.fx.Graph, filters: list[Any]) -> bool:
        """Whether the graph has the convolution and the quantize operators of the pattern."""
        closure = self.closure
        convs = [n for n in graph.nodes if _is(n, f"aten.{closure['conv_fn'].__name__}.")]
        without_bias = [n for n in convs if len(n.args) < 3 or n.args[2] is None]
        if filters:  # prepare: one pattern, and a filter for each of two replacements
            return bool(without_bias) if qat_utils._no_conv_bias_filter in filters else len(without_bias) < len(convs)
        if not closure["bn_is_training"]:
            return False  # literals are ignored: the same pattern in training has just taken every match
        quantize = f"quantized_decomposed.quantize_per_{'channel' if closure['is_per_channel'] else 'tensor'}"
        zeros = [n for n in graph.nodes if _is(n, "aten.zeros_like.")]
        if closure["bias_is_quantized"]:
            zeros = [n for n in zeros if any(_is(u, quantize) for u in n.users)]
        with_bias = bool(zeros) and len(without_bias) < len(convs)
        return any(_is(n, quantize) for n in graph.nodes) and (with_bias if closure["has_bias"] else bool(without_bias))

    def graph_module(self) -> torch.fx.GraphModule:
        if self.key not in _captured:
            _captured[self.key] = _capture(*self.arguments, **self.kwargs)
        return copy.deepcopy(_captured[self.key])


def _lazy(pattern: Any, inputs: tuple[torch.Tensor, ...], is_cuda: bool = False, **kwargs: Any) -> Pattern:
    return Pattern(pattern, inputs, is_cuda, kwargs)


def _replace_if_possible(module: Any, pattern: Pattern, replacement: Pattern, **options: Any) -> list[Any]:
    if not pattern.may_match(module.graph, options.get("match_filters", [])):
        return []
    return _replace(module, pattern.graph_module(), replacement.graph_module(), **options)


qat_utils._get_aten_graph_module_for_pattern = _lazy
qat_utils.replace_pattern_with_filters = _replace_if_possible
