"""The PyTorch 2 Export flow, as torchao.quantization.pt2e."""

from pt2q._core import convert_pt2e, merge_observers, prepare_pt2e, prepare_qat_pt2e

from ._numeric_debugger import (
    CUSTOM_KEY,
    FROM_NODE_KEY,
    NUMERIC_DEBUG_HANDLE_KEY,
    compare_results,
    extract_results_from_loggers,
    generate_numeric_debug_handle,
    prepare_for_propagation_comparison,
)
from .export_utils import (
    allow_exported_model_train_eval,
    model_is_exported,
    move_exported_model_to_eval,
    move_exported_model_to_train,
)

__all__ = [
    "CUSTOM_KEY",
    "FROM_NODE_KEY",
    "NUMERIC_DEBUG_HANDLE_KEY",
    "allow_exported_model_train_eval",
    "compare_results",
    "convert_pt2e",
    "extract_results_from_loggers",
    "generate_numeric_debug_handle",
    "merge_observers",
    "model_is_exported",
    "move_exported_model_to_eval",
    "move_exported_model_to_train",
    "prepare_for_propagation_comparison",
    "prepare_pt2e",
    "prepare_qat_pt2e",
]
