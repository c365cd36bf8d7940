"""TorchScript mode: observers in a captured model, then integers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from pt2q import _core
from pt2q.jit import ScriptModule

__all__ = [
    "convert_dynamic_jit",
    "convert_jit",
    "fuse_conv_bn_jit",
    "prepare_dynamic_jit",
    "prepare_jit",
    "quantize_dynamic_jit",
    "quantize_jit",
    "script_qconfig",
    "script_qconfig_dict",
]


def _check_is_script_module(model: Any) -> None:
    if not isinstance(model, ScriptModule):
        raise ValueError("input must be a script module, got: " + str(type(model)))


def script_qconfig(qconfig: Any) -> Any:
    """The configuration itself: its recipes need no compiling."""
    return qconfig


def script_qconfig_dict(qconfig_dict: dict[str, Any]) -> dict[str, Any]:
    return dict(qconfig_dict)


def _checked(model: ScriptModule, qconfig_dict: Any) -> dict[str, Any]:
    if not isinstance(qconfig_dict, dict) or any(not isinstance(name, str) for name in qconfig_dict):
        raise ValueError("qconfig_dict should only contain names(str) as keys.")
    paths = {path for node in model.graph.nodes for path in _module_paths(node)}
    for name, qconfig in qconfig_dict.items():
        if qconfig is not None and not (hasattr(qconfig, "activation") and hasattr(qconfig, "weight")):
            raise _core.TypeError(
                f"qconfig_dict[{name!r}] must be a QConfig or None, got {type(qconfig).__name__}"
            )
        if name and name not in paths:
            warnings.warn(f"qconfig_dict names {name!r}, which is no module of the model", stacklevel=4)
    return dict(qconfig_dict)


def _module_paths(node: Any) -> list[str]:
    paths = [entry[0] for entry in (node.meta.get("nn_module_stack") or {}).values()]
    return [".".join(p.split(".")[: i + 1]) for p in paths for i in range(len(p.split(".")))]


def _prepare(model: Any, qconfig_dict: Any, inplace: bool, is_dynamic: bool) -> ScriptModule:
    _check_is_script_module(model)
    qconfigs = _checked(model, qconfig_dict)
    prepared: ScriptModule = model if inplace else copy.deepcopy(model)
    _core._prepare_jit(prepared.graph_module, qconfigs, is_dynamic)
    prepared._replace(prepared.graph_module)
    return prepared


def prepare_jit(model: Any, qconfig_dict: dict[str, Any], inplace: bool = False) -> ScriptModule:
    """Folds batch norms and puts observers where PyTorch puts them.

    Args:
        model: what ``jit.trace`` or ``jit.script`` returned.
        qconfig_dict: module path to QConfig; "" is the whole model, a longer path wins, None leaves a
            module in float.
        inplace: change ``model`` itself.

    Raises:
        ValueError: ``model`` is no ScriptModule, or keys that are no strings.
    """
    return _prepare(model, qconfig_dict, inplace, is_dynamic=False)


def prepare_dynamic_jit(model: Any, qconfig_dict: dict[str, Any], inplace: bool = False) -> ScriptModule:
    """Like prepare_jit for linear layers whose inputs are quantized when the model runs."""
    return _prepare(model, qconfig_dict, inplace, is_dynamic=True)


def convert_jit(model: Any, inplace: bool = False, debug: bool = False, preserved_attrs: Any = None) -> ScriptModule:
    """Integers by what the observers saw. Fusion happens at the first call; ``graph_for`` shows it.

    Args:
        model: what :func:`prepare_jit` returned, after calibration.
        inplace: change ``model`` itself.
        debug, preserved_attrs: accepted; the graph before fusion is ``model.graph`` in any case.

    Raises:
        ValueError: ``model`` is no ScriptModule.
    """
    del debug, preserved_attrs
    _check_is_script_module(model)
    converted: ScriptModule = model if inplace else copy.deepcopy(model)
    if converted.graph_module._prepared:
        _core._convert_jit(converted.graph_module)
    converted._replace(converted.graph_module)
    return converted


def convert_dynamic_jit(model: Any, inplace: bool = False, debug: bool = False, preserved_attrs: Any = None) -> ScriptModule:  # fmt: skip
    """convert_jit for what prepare_dynamic_jit returned."""
    return convert_jit(model, inplace, debug, preserved_attrs)


def quantize_jit(model: Any, qconfig_dict: dict[str, Any], run_fn: Callable[..., Any], run_args: Any, inplace: bool = False, debug: bool = False) -> ScriptModule:  # fmt: skip
    """prepare_jit, ``run_fn(model, *run_args)``, convert_jit."""
    prepared = prepare_jit(model, qconfig_dict, inplace)
    run_fn(prepared, *run_args)
    return convert_jit(prepared, inplace=True, debug=debug)


def quantize_dynamic_jit(model: Any, qconfig_dict: dict[str, Any], inplace: bool = False, debug: bool = False) -> ScriptModule:  # fmt: skip
    """prepare_dynamic_jit and convert_dynamic_jit."""
    return convert_jit(prepare_dynamic_jit(model, qconfig_dict, inplace), inplace=True, debug=debug)


def fuse_conv_bn_jit(model: Any, inplace: bool = False) -> ScriptModule:
    """Folds batch norms into the convolution or linear layer in front of them."""
    _check_is_script_module(model)
    fused: ScriptModule = model if inplace else copy.deepcopy(model)
    _core._fold_conv_bn(fused.graph_module)
    fused._replace(fused.graph_module)
    return fused
