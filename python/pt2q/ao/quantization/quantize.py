"""Eager mode: ``prepare`` puts observers on modules, ``convert`` swaps modules for quantized ones."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from pt2q import _core, nn
from pt2q.ao.nn import quantized as nnq
from pt2q.ao.nn.intrinsic import _ObservedAsOne
from pt2q.ao.quantization.qconfig import default_dynamic_qconfig
from pt2q.ao.quantization.quantization_mappings import (
    get_default_dynamic_quant_module_mappings,
    get_default_qat_module_mappings,
    get_default_qconfig_propagation_list,
    get_default_static_quant_module_mappings,
)
from pt2q.ao.quantization.stubs import DeQuantStub, QuantWrapper
from pt2q.nn.modules.module import Module

__all__ = [
    "add_observer_",
    "add_quant_dequant",
    "convert",
    "prepare",
    "prepare_qat",
    "propagate_qconfig_",
    "quantize",
    "quantize_dynamic",
    "quantize_qat",
    "swap_module",
]


def propagate_qconfig_(module: Any, qconfig_dict: Any = None, prepare_custom_config_dict: Any = None) -> None:
    """Gives every module a ``qconfig``: its own, that of ``qconfig_dict`` (by type or dotted name;
    "" is all), or its parent's."""
    del prepare_custom_config_dict
    _propagate(module, qconfig_dict or {}, None, "")


def _propagate(module: Any, by_name: dict[Any, Any], inherited: Any, prefix: str) -> None:
    found = by_name.get(type(module), inherited)
    found = by_name.get(prefix, found)
    found = getattr(module, "qconfig", found)
    if isinstance(module, Module):
        module.qconfig = found
    for name, child in module.named_children():
        _propagate(child, by_name, found, f"{prefix}.{name}" if prefix else name)


def _observe(module: Any, inputs: Any, output: Any) -> Any:
    return module.activation_post_process(output)


def _is_observed(module: Any) -> bool:
    return getattr(module, "qconfig", None) is not None


def _insert_observer(module: Any) -> None:
    if isinstance(module, DeQuantStub):
        return
    if _is_observed(module) and not hasattr(module, "activation_post_process"):
        module.add_module("activation_post_process", module.qconfig.activation())
        handle = module.register_forward_hook(_observe)
        module._forward_hooks.move_to_end(handle._key, last=False)  # before the user's own


def add_observer_(module: Any, propagation_list: set[Any], non_leaf_types: Any = None) -> None:
    """Observers on the results of leaf modules of those types, and on fused and functional ones."""
    for child in list(module.children()):
        if type(child) is nn.Dropout or not isinstance(child, Module):
            continue
        if isinstance(child, (nnq.FloatFunctional, nnq.QFunctional)):
            if _is_observed(child):
                child.activation_post_process = child.qconfig.activation()
        elif isinstance(child, _ObservedAsOne):
            _insert_observer(child)
        elif non_leaf_types is not None and type(child) in non_leaf_types:
            _insert_observer(child)
            add_observer_(child, propagation_list, non_leaf_types)
        else:
            add_observer_(child, propagation_list, non_leaf_types)
    is_leaf = not any(True for _ in module.children())
    if is_leaf and not isinstance(module, nn.Sequential) and type(module) in propagation_list:
        _insert_observer(module)


def prepare(
    model: Any,
    inplace: bool = False,
    allow_list: set[Any] | None = None,
    observer_non_leaf_module_list: Any = None,
    prepare_custom_config_dict: Any = None,
) -> Any:
    """Puts observers on the modules that have a ``qconfig``, their own or a parent's.

    Args:
        model: the model; set ``model.qconfig`` (or that of sub-modules; None leaves them in float).
        inplace: change ``model`` itself.
        allow_list: module types to observe instead of the default ones.
        observer_non_leaf_module_list: types to observe although they have children.

    Returns:
        The model; call it on calibration data, then :func:`convert`.
    """
    del prepare_custom_config_dict
    if not isinstance(model, Module):
        raise TypeError(f"prepare expects an nn.Module, got {type(model).__name__}")
    if not inplace:
        model = copy.deepcopy(model)
    propagate_qconfig_(model)
    if not any(_is_observed(m) for m in model.modules()):
        warnings.warn(
            "None of the submodule got qconfig applied. Make sure you passed correct configuration "
            "through `qconfig_dict` or by assigning the `.qconfig` attribute directly on submodules",
            stacklevel=2,
        )
    add_observer_(model, allow_list or get_default_qconfig_propagation_list(), observer_non_leaf_module_list)
    return model


def swap_module(mod: Any, mapping: dict[Any, Any], custom_module_class_mapping: Any = None) -> Any:
    """The quantized form of ``mod`` where it is observed and its type has one; else ``mod``."""
    del custom_module_class_mapping
    if not _is_observed(mod) or type(mod) not in mapping:
        return mod
    made = mapping[type(mod)].from_float(mod)
    for name in ("_forward_pre_hooks", "_forward_hooks"):
        for hook in getattr(mod, name).values():
            if hook is not _observe:
                made._add_hook(getattr(made, name), hook)
    made.training = mod.training
    return made


def _convert(module: Any, mapping: dict[Any, Any]) -> None:
    for name, child in list(module.named_children()):
        if not isinstance(child, _ObservedAsOne) and isinstance(child, Module):
            _convert(child, mapping)
        module._modules[name] = swap_module(child, mapping)


def _remove_qconfig(module: Any) -> None:
    for part in module.modules():
        if not isinstance(part, Module):
            continue
        part.__dict__.pop("qconfig", None)
        if isinstance(part, (nnq.FloatFunctional, nnq.QFunctional)):
            continue
        if part._modules.pop("activation_post_process", None) is not None:
            for key in [k for k, hook in part._forward_hooks.items() if hook is _observe]:
                del part._forward_hooks[key]


def convert(
    module: Any,
    mapping: dict[Any, Any] | None = None,
    inplace: bool = False,
    remove_qconfig: bool = True,
    is_reference: bool = False,
    convert_custom_config_dict: Any = None,
    use_precomputed_fake_quant: bool = False,
) -> Any:
    """Swaps observed modules for quantized ones, with the scales their observers found.

    Args:
        module: what :func:`prepare` returned, after calibration.
        mapping: float type to quantized type, instead of the default one.
        inplace: change ``module`` itself.
        remove_qconfig: drop ``qconfig`` and what is left of the observers.

    Raises:
        AssertionError: a weight observer whose dtype is not qint8.
    """
    del convert_custom_config_dict, use_precomputed_fake_quant
    if is_reference:
        raise NotImplementedError("is_reference=True is not supported: use convert_pt2e for a q/dq graph")
    if not inplace:
        module = copy.deepcopy(module)
    _convert(module, get_default_static_quant_module_mappings() if mapping is None else mapping)
    if remove_qconfig:
        _remove_qconfig(module)
    return module


def prepare_qat(model: Any, mapping: dict[Any, Any] | None = None, inplace: bool = False) -> Any:
    """Prepares a model in training mode: weights and activations pass fake-quantizers.

    Args:
        model: the model, in training mode, with ``qconfig`` of fake-quantizers
            (``get_default_qat_qconfig``); fuse it before with ``fuse_modules_qat``.
        mapping: float type to training type, instead of the default one.
        inplace: change ``model`` itself.

    Raises:
        AssertionError: the model is in eval mode.
    """
    if not isinstance(model, Module):
        raise TypeError(f"prepare_qat expects an nn.Module, got {type(model).__name__}")
    if not model.training:
        raise AssertionError("prepare_qat only works on models in training mode")
    mapping = get_default_qat_module_mappings() if mapping is None else mapping
    if not inplace:
        model = copy.deepcopy(model)
    propagate_qconfig_(model)
    _convert(model, mapping)
    return prepare(model, inplace=True, observer_non_leaf_module_list=set(mapping.values()))


def quantize_qat(model: Any, run_fn: Callable[..., Any], run_args: Any, inplace: bool = False) -> Any:
    """prepare_qat, ``run_fn(model, *run_args)``, convert."""
    if not inplace:
        model = copy.deepcopy(model)
    model.train()
    prepare_qat(model, inplace=True)
    run_fn(model, *run_args)
    convert(model, inplace=True)
    return model


def quantize_dynamic(
    model: Any,
    qconfig_spec: Any = None,
    dtype: Any = _core.qint8,
    mapping: dict[Any, Any] | None = None,
    inplace: bool = False,
) -> Any:
    """int8 weights now; activations are quantized at each call, by their own range.

    Args:
        model: the float model.
        qconfig_spec: module types or dotted names to quantize, as a set, or as a dict to their
            qconfig; all linear layers by default.
        dtype: of the weights: qint8.
        mapping: float type to quantized type, instead of the default one.
        inplace: change ``model`` itself.

    Raises:
        NotImplementedError: another dtype.
    """
    if not isinstance(model, Module):
        raise TypeError(f"quantize_dynamic expects an nn.Module, got {type(model).__name__}")
    if dtype is not _core.qint8:
        raise _core.NotImplementedError(f"quantize_dynamic: weights of {dtype} are not supported", "use dtype=qint8")
    mapping = get_default_dynamic_quant_module_mappings() if mapping is None else mapping
    if qconfig_spec is None:
        qconfig_spec = set(mapping)
    if isinstance(qconfig_spec, set):
        qconfig_spec = dict.fromkeys(qconfig_spec, default_dynamic_qconfig)
    if not inplace:
        model = copy.deepcopy(model)
    model.eval()
    propagate_qconfig_(model, qconfig_spec)
    convert(model, mapping, inplace=True)
    return model


def quantize(model: Any, run_fn: Callable[..., Any], run_args: Any, mapping: Any = None, inplace: bool = False) -> Any:
    """prepare, ``run_fn(model, *run_args)``, convert."""
    if not inplace:
        model = copy.deepcopy(model)
    model.eval()
    prepare(model, inplace=True)
    run_fn(model, *run_args)
    convert(model, mapping, inplace=True)
    return model


def add_quant_dequant(module: Any) -> Any:
    """Wraps every leaf module that has a ``qconfig`` in a QuantWrapper."""
    if not any(True for _ in module.children()) and getattr(module, "qconfig", None):
        return QuantWrapper(module)
    for name, child in list(module.named_children()):
        module._modules[name] = add_quant_dequant(child)
    return module
