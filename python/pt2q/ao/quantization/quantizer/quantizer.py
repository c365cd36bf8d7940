"""Specs, annotations and the ``Quantizer`` base class, as torch.ao.quantization.quantizer.quantizer."""

from __future__ import annotations

import dataclasses
from typing import Any, Union

from pt2q._core import (
    DerivedQuantizationSpec,
    FixedQParamsQuantizationSpec,
    Node,
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)

__all__ = [
    "Quantizer",
    "QuantizationSpecBase",
    "QuantizationSpec",
    "FixedQParamsQuantizationSpec",
    "EdgeOrNode",
    "SharedQuantizationSpec",
    "DerivedQuantizationSpec",
    "QuantizationAnnotation",
]

# The output of a node, or the edge from a producer to a consumer.
EdgeOrNode = Union[tuple[Node, Node], Node]

Q_ANNOTATION_KEY = "quantization_annotation"


def _declare_fields(cls: type, required: list[str], optional: dict[str, Any]) -> None:
    """Make ``dataclasses.replace``, ``asdict`` and ``fields`` accept a class of the core."""
    names: list[Any] = [(name, Any) for name in required]
    names += [(name, Any, dataclasses.field(default=value)) for name, value in optional.items()]
    template = dataclasses.make_dataclass(cls.__name__, names, frozen=True)
    cls.__dataclass_fields__ = template.__dataclass_fields__  # type: ignore[attr-defined]
    cls.__match_args__ = template.__match_args__  # type: ignore[attr-defined, misc]


_RANGE = {"quant_min": None, "quant_max": None, "qscheme": None}
_declare_fields(
    QuantizationSpec,
    ["dtype", "observer_or_fake_quant_ctr"],
    {**_RANGE, "ch_axis": None, "is_dynamic": False},
)
_declare_fields(
    FixedQParamsQuantizationSpec, ["dtype", "scale", "zero_point"], {**_RANGE, "is_dynamic": False}
)
_declare_fields(SharedQuantizationSpec, ["edge_or_node"], {})
_declare_fields(
    DerivedQuantizationSpec,
    ["derived_from", "derive_qparams_fn", "dtype"],
    {**_RANGE, "ch_axis": None, "is_dynamic": False},
)
