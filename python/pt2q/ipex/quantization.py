"""QuantConf: calibrate a model as it is, keep the result as JSON, convert by it."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

from pt2q import _core, _trace
from pt2q.jit import ScriptModule
from pt2q.jit._trace import capture
from pt2q.nn.modules.module import Module

__all__ = ["QuantConf", "calibrate", "convert"]


class QuantConf:
    """Scales, zero points and switches of every quantizable operator call of a model.

    Args:
        configure_file: a file that :meth:`save` wrote (and that may have been edited); None to start
            a calibration.
        qscheme: per_tensor_affine (uint8 activations) or per_tensor_symmetric (int8).

    Raises:
        AssertionError: another scheme, or a file that is missing or empty.
        ValueError: the file's content is wrong; the entry is named.
    """

    def __init__(self, configure_file: Any = None, qscheme: Any = _core.per_tensor_affine) -> None:
        if configure_file is not None:
            self._conf = _core._QuantConf.load(os.fspath(configure_file))
        else:
            self._conf = _core._QuantConf(qscheme)

    @property
    def qscheme(self) -> Any:
        return self._conf.qscheme

    @property
    def entries(self) -> list[Any]:
        """The entries, under the names of the JSON file; changing them changes the configuration."""
        return list(self._conf.entries)

    def save(self, configure_file: Any) -> None:
        """Writes the JSON file. The observed ranges are forgotten, so that a calibration that follows
        starts afresh.

        Raises:
            RuntimeError: nothing was recorded.
            FileError: the file cannot be written.
        """
        self._conf.save(os.fspath(configure_file))


class _ForwardBoundary:
    """Told of every module that is entered: the end of the outermost one ends a forward pass."""

    def __init__(self, calibration: Any, outer: Any) -> None:
        self.calibration, self.outer, self.depth = calibration, outer, 0

    def push_module(self, module: Any) -> None:
        self.depth += 1
        if self.outer is not None:
            self.outer.push_module(module)

    def pop_module(self) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.calibration.end_forward()
        if self.outer is not None:
            self.outer.pop_module()


class calibrate:
    """``with calibrate(conf): model(x)`` records ranges; also a decorator. Blocks may be nested and
    run on several threads (with a configuration for each): a block listens to its own thread only.

    Args:
        conf: a QuantConf.
        default_recipe: switch off quantization where it would not pay or would prevent a fusion.
    """

    def __init__(self, conf: QuantConf, default_recipe: bool = True) -> None:
        if not isinstance(conf, QuantConf):
            raise _core.TypeError(f"calibrate expects a QuantConf, got {type(conf).__name__}")
        self.conf, self.default_recipe = conf, default_recipe
        self._local = threading.local()

    def __enter__(self) -> calibrate:
        calibration = _core._Calibration(self.conf._conf, self.default_recipe)
        outer = _trace.current()
        stack = self._local.__dict__.setdefault("stack", [])
        stack.append((calibration, outer))
        nested = outer if isinstance(outer, _ForwardBoundary) else None
        _trace.set_current(_ForwardBoundary(calibration, nested))
        calibration.enter()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        calibration, outer = self._local.stack.pop()
        _trace.set_current(outer)
        calibration.leave(kind is not None)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def calibrated(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return calibrated


def convert(model: Any, conf: QuantConf, inputs: Any) -> ScriptModule:
    """Captures the model on example inputs and quantizes it by the configuration.

    Args:
        model: the module that was calibrated, in eval mode.
        conf: the configuration, calibrated or read from a file.
        inputs: a tensor, or a tuple of them. Other sizes work later wherever the model allows them.

    Raises:
        AssertionError: ``model`` is no module, or the configuration is empty.
        ValueError: the model's operators are not those of the configuration; the entry is named.
    """
    if not isinstance(model, (Module, _core.GraphModule)):
        raise AssertionError("Only support nn.Module convert for quantization path")
    if not isinstance(conf, QuantConf):
        raise _core.TypeError(f"convert expects a QuantConf, got {type(conf).__name__}")
    examples = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    graph_module = capture(model, examples)
    _core._quantize_with(graph_module, conf._conf)
    return ScriptModule(graph_module, type(model).__name__)
