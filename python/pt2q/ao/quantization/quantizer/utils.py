"""Configurations and helpers for writing quantizers, as torch.ao.quantization.quantizer.utils."""

from __future__ import annotations

from typing import Any, NamedTuple

from pt2q import _core
from pt2q._core import (
    QuantizationConfig,
    annotate_input_qspec_map,
    annotate_output_qspec,
    get_bias_qspec,
    get_input_act_qspec,
    get_module_name_filter,
    get_output_act_qspec,
    get_weight_qspec,
    is_valid_annotation,
    leave_activations_float,
)

from .quantizer import _declare_fields

__all__ = [
    "OperatorConfig",
    "OperatorPatternType",
    "QuantizationCapabilities",
    "QuantizationConfig",
    "annotate_input_qspec_map",
    "annotate_output_qspec",
    "get_bias_qspec",
    "get_input_act_qspec",
    "get_module_name_filter",
    "get_output_act_qspec",
    "get_weight_qspec",
    "is_valid_annotation",
    "leave_activations_float",
]

# A chain of operators, e.g. ["aten.conv2d.default", "aten.relu.default"].
OperatorPatternType = list[Any]

_declare_fields(
    QuantizationConfig,
    ["input_activation", "output_activation", "weight", "bias"],
    {"is_qat": False},
)


class OperatorConfig(NamedTuple):
    """A configuration and the operator patterns a quantizer applies it to."""

    config: QuantizationConfig
    operators: list[OperatorPatternType]


class QuantizationCapabilities(list[OperatorConfig]):
    """What a quantizer can do: a list of OperatorConfig that prints as a table."""

    def __str__(self) -> str:
        return str(_core._capabilities_table(self))
