"""Eager-mode configurations: which observer for activations, which for weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from pt2q import _core
from pt2q.ao.quantization.fake_quantize import (
    FakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    default_dynamic_fake_quant,
    default_embedding_fake_quant,
    default_embedding_fake_quant_4bit,
    default_fake_quant,
    default_fused_act_fake_quant,
    default_fused_per_channel_wt_fake_quant,
    default_fused_wt_fake_quant,
    default_per_channel_weight_fake_quant,
    default_weight_fake_quant,
    fused_per_channel_wt_fake_quant_range_neg_127_to_127,
    fused_wt_fake_quant_range_neg_127_to_127,
)
from pt2q.ao.quantization.observer import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    NoopObserver,
    PlaceholderObserver,
    default_debug_observer,
    default_dynamic_quant_observer,
    default_float_qparams_observer,
    default_float_qparams_observer_4bit,
    default_observer,
    default_per_channel_weight_observer,
    default_placeholder_observer,
    default_reuse_input_observer,
    default_weight_observer,
    per_channel_weight_observer_range_neg_127_to_127,
    weight_observer_range_neg_127_to_127,
)
from pt2q.nn import Identity, Module

__all__ = [
    "QConfig",
    "QConfigAny",
    "default_activation_only_qconfig",
    "default_debug_qconfig",
    "default_dynamic_qat_qconfig",
    "default_dynamic_qconfig",
    "default_embedding_qat_qconfig",
    "default_embedding_qat_qconfig_4bit",
    "default_per_channel_qconfig",
    "default_per_channel_symmetric_qnnpack_qat_qconfig",
    "default_per_channel_symmetric_qnnpack_qconfig",
    "default_qat_qconfig",
    "default_qat_qconfig_v2",
    "default_qconfig",
    "default_quint8_weight_qconfig",
    "default_reuse_input_qconfig",
    "default_symmetric_qnnpack_qat_qconfig",
    "default_symmetric_qnnpack_qconfig",
    "default_weight_only_qconfig",
    "float16_dynamic_qconfig",
    "float16_static_qconfig",
    "float_qparams_weight_only_qconfig",
    "float_qparams_weight_only_qconfig_4bit",
    "get_default_qat_qconfig",
    "get_default_qconfig",
    "per_channel_dynamic_qconfig",
    "qconfig_equals",
]


# What configurations hold: an observer class, or its with_args(...).
_ObserverOrFakeQuantizeConstructor = Callable[..., Any]


class _QConfigFields(NamedTuple):
    activation: Any
    weight: Any


class QConfig(_QConfigFields):
    """Observer recipes for activations and weights.

    Args:
        activation: an observer class, ``Class.with_args(...)``, or any callable that returns one.
        weight: the same for weights.

    Raises:
        ValueError: an instance was given instead of a recipe.
    """

    __slots__ = ()

    def __new__(cls, activation: Any, weight: Any) -> QConfig:
        for recipe in (activation, weight):
            if isinstance(recipe, (_core._Observer, Module)):
                raise ValueError(
                    "QConfig received observer instance, please pass observer class instead. "
                    "Use MyObserver.with_args(x=1) to override arguments to constructor if needed"
                )
        return super().__new__(cls, activation, weight)


QConfigAny = "QConfig | None"
_BACKENDS = ["fbgemm", "x86", "qnnpack", "onednn"]

default_qconfig = QConfig(activation=default_observer, weight=default_weight_observer)
default_debug_qconfig = QConfig(activation=default_debug_observer, weight=default_weight_observer)
default_per_channel_qconfig = QConfig(
    activation=default_observer, weight=default_per_channel_weight_observer
)
default_dynamic_qconfig = QConfig(
    activation=default_dynamic_quant_observer, weight=default_weight_observer
)
float16_dynamic_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=_core.float16, is_dynamic=True),
    weight=PlaceholderObserver.with_args(dtype=_core.float16),
)
float16_static_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=_core.float16),
    weight=PlaceholderObserver.with_args(dtype=_core.float16),
)
per_channel_dynamic_qconfig = QConfig(
    activation=default_dynamic_quant_observer, weight=default_per_channel_weight_observer
)
float_qparams_weight_only_qconfig = QConfig(
    activation=default_placeholder_observer, weight=default_float_qparams_observer
)
float_qparams_weight_only_qconfig_4bit = QConfig(
    activation=default_placeholder_observer, weight=default_float_qparams_observer_4bit
)
default_qat_qconfig = QConfig(activation=default_fake_quant, weight=default_weight_fake_quant)
default_dynamic_qat_qconfig = QConfig(
    activation=default_dynamic_fake_quant, weight=default_weight_fake_quant
)
default_weight_only_qconfig = QConfig(activation=Identity, weight=default_weight_fake_quant)
default_activation_only_qconfig = QConfig(activation=default_fake_quant, weight=Identity)
default_qat_qconfig_v2 = QConfig(
    activation=default_fused_act_fake_quant, weight=default_fused_wt_fake_quant
)
default_reuse_input_qconfig = QConfig(activation=default_reuse_input_observer, weight=NoopObserver)
default_symmetric_qnnpack_qconfig = QConfig(
    activation=HistogramObserver.with_args(dtype=_core.qint8, reduce_range=False, eps=2**-12),
    weight=weight_observer_range_neg_127_to_127,
)
default_per_channel_symmetric_qnnpack_qconfig = QConfig(
    activation=HistogramObserver.with_args(dtype=_core.qint8, reduce_range=False, eps=2**-12),
    weight=per_channel_weight_observer_range_neg_127_to_127,
)
default_embedding_qat_qconfig = QConfig(
    activation=NoopObserver.with_args(dtype=_core.float32), weight=default_embedding_fake_quant
)
default_embedding_qat_qconfig_4bit = QConfig(
    activation=NoopObserver.with_args(dtype=_core.float32),
    weight=default_embedding_fake_quant_4bit,
)
default_quint8_weight_qconfig = QConfig(activation=HistogramObserver, weight=MinMaxObserver)
_symmetric_qat_activation = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=_core.qint8,
    reduce_range=False,
    eps=2**-12,
)
default_symmetric_qnnpack_qat_qconfig = QConfig(
    activation=_symmetric_qat_activation, weight=fused_wt_fake_quant_range_neg_127_to_127
)
default_per_channel_symmetric_qnnpack_qat_qconfig = QConfig(
    activation=_symmetric_qat_activation,
    weight=fused_per_channel_wt_fake_quant_range_neg_127_to_127,
)


def _check_backend(backend: str) -> None:
    if backend not in _BACKENDS:
        raise AssertionError(
            f"backend: {backend} not supported. backend must be one of {_BACKENDS}"
        )


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """The post-training configuration of a backend: x86, fbgemm, qnnpack or onednn.

    Raises:
        AssertionError: unknown backend, or a version other than 0.
    """
    _check_backend(backend)
    if version != 0:
        raise AssertionError(
            f"Version number: {version} in get_default_qconfig is not supported. "
            "Version number must be 0"
        )
    if backend == "onednn" and not _core._has_vnni():
        warnings.warn(
            "Default qconfig of oneDNN backend with reduce_range of false may have accuracy issues "
            "on CPU without Vector Neural Network Instruction support.",
            stacklevel=2,
        )
    weight = default_weight_observer if backend == "qnnpack" else default_per_channel_weight_observer
    reduce_range = backend in ("x86", "fbgemm")
    return QConfig(HistogramObserver.with_args(reduce_range=reduce_range), weight)


def get_default_qat_qconfig(backend: str = "x86", version: int | None = 1) -> QConfig:
    """The training configuration of a backend; version 1 uses the fused fake-quantize classes.

    Raises:
        AssertionError: unknown backend, or a version other than 0 and 1.
    """
    _check_backend(backend)
    if version not in (0, 1):
        raise AssertionError(
            f"Version number: {version} in get_default_qat_qconfig is not supported. "
            "Version number must be 0 or 1"
        )
    args = {"observer": MovingAverageMinMaxObserver, "quant_min": 0, "quant_max": 255}
    if backend != "onednn":
        args["reduce_range"] = backend != "qnnpack"
    if version == 0:
        return QConfig(
            FakeQuantize.with_args(**args),
            default_weight_fake_quant
            if backend == "qnnpack"
            else default_per_channel_weight_fake_quant,
        )
    return QConfig(
        FusedMovingAvgObsFakeQuantize.with_args(**args),
        default_fused_wt_fake_quant
        if backend == "qnnpack"
        else default_fused_per_channel_wt_fake_quant,
    )


def qconfig_equals(q1: QConfig | None, q2: QConfig | None) -> bool:
    """Whether two configurations make the same observers with the same arguments."""
    return q1 == q2
