"""The PyTorch 2 Export flow, as torchao.quantization.pt2e."""

from pt2q._core import convert_pt2e, merge_observers, prepare_pt2e

from .export_utils import (
    allow_exported_model_train_eval,
    model_is_exported,
    move_exported_model_to_eval,
    move_exported_model_to_train,
)

__all__ = [
    "allow_exported_model_train_eval",
    "convert_pt2e",
    "merge_observers",
    "model_is_exported",
    "move_exported_model_to_eval",
    "move_exported_model_to_train",
    "prepare_pt2e",
]
