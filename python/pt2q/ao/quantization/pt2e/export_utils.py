"""Training and evaluation mode of captured models, as torch.ao.quantization.pt2e.export_utils."""

from __future__ import annotations

import types
from typing import Any

from pt2q._core import GraphModule, move_exported_model_to_eval, move_exported_model_to_train

__all__ = [
    "allow_exported_model_train_eval",
    "model_is_exported",
    "move_exported_model_to_eval",
    "move_exported_model_to_train",
]


def model_is_exported(m: Any) -> bool:
    """Whether ``m`` is a captured model: a GraphModule whose nodes carry value descriptions."""
    return isinstance(m, GraphModule) and any("val" in n.meta for n in m.graph.nodes)


def allow_exported_model_train_eval(model: GraphModule) -> GraphModule:
    """Make ``model.train()`` and ``model.eval()`` switch dropout and batch norm of a captured model.

    Call it again after ``prepare_pt2e`` and after ``convert_pt2e``. Returns the model.
    """

    def _train(self: GraphModule, mode: bool = True) -> GraphModule:
        return move_exported_model_to_train(self) if mode else move_exported_model_to_eval(self)

    def _eval(self: GraphModule) -> GraphModule:
        return move_exported_model_to_eval(self)

    changed: Any = model
    changed.train = types.MethodType(_train, model)
    changed.eval = types.MethodType(_eval, model)
    return model
