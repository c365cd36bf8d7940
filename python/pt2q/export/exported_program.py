"""The result of ``export``."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from pt2q import _core
from pt2q._core import Graph, GraphModule, Tensor
from pt2q.export._dynamic import ValueRange


@dataclass
class ExportGraphSignature:
    """Which placeholders and results the graph has, and which attributes it reads."""

    user_inputs: tuple[str, ...] = ()
    user_outputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    lifted_tensor_constants: tuple[str, ...] = ()


def signature_of(model: GraphModule) -> ExportGraphSignature:
    nodes = model.graph.nodes
    kinds: dict[str, list[str]] = {}
    for name in model._attr_names():
        kinds.setdefault(model._attr_kind(name), []).append(name)
    outputs = nodes[-1].args[0] if nodes and nodes[-1].op == "output" else ()
    return ExportGraphSignature(
        user_inputs=tuple(n.name for n in nodes if n.op == "placeholder"),
        user_outputs=tuple(str(o) for o in (outputs if isinstance(outputs, tuple) else (outputs,))),
        parameters=tuple(kinds.get("parameter", ())),
        buffers=(*kinds.get("buffer", ()), *kinds.get("non_persistent_buffer", ())),
        lifted_tensor_constants=tuple(kinds.get("constant", ())),
    )


@dataclass
class ExportedProgram:
    """A captured model with its example inputs and the ranges of its dynamic dimensions."""

    graph_module: GraphModule
    example_inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    range_constraints: dict[str, ValueRange] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        return self.graph_module.graph

    @property
    def graph_signature(self) -> ExportGraphSignature:
        return signature_of(self.graph_module)

    @property
    def state_dict(self) -> OrderedDict[str, Tensor]:
        return self.graph_module.state_dict()

    @property
    def constants(self) -> dict[str, Tensor]:
        model = self.graph_module
        names = self.graph_signature.lifted_tensor_constants
        return {name: model.get_buffer(name) for name in names}

    def module(self, check_guards: bool = True) -> GraphModule:
        """A callable model: a graph of its own that shares this program's tensors."""
        del check_guards
        return self.graph_module._shallow_copy()

    def parameters(self) -> list[Tensor]:
        return self.graph_module.parameters()

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        return self.graph_module.named_parameters()

    def buffers(self) -> list[Tensor]:
        return self.graph_module.buffers()

    def named_buffers(self) -> list[tuple[str, Tensor]]:
        return self.graph_module.named_buffers()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise _core.RuntimeError(
            "Unable to call ExportedProgram directly. You should use `exported_program.module()` instead."
        )

    def __str__(self) -> str:
        code = str(self.graph_module.code).replace("\n", "\n        ")
        return (
            f"ExportedProgram:\n    class GraphModule(pt2q.nn.Module):\n        {code}\n"
            f"Graph signature: {self.graph_signature}\nRange constraints: {self.range_constraints}\n"
        )

    __repr__ = __str__
