"""``jit.trace`` and ``jit.script``: capture with as many dynamic dimensions as the model allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pt2q
from pt2q import _core
from pt2q.export import Dim, export
from pt2q.jit._script_module import ScriptModule
from pt2q.nn.modules.module import Module


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _shapes(inputs: tuple[Any, ...], dims: set[tuple[int, int]]) -> tuple[Any, ...]:
    return tuple(
        {d: Dim(f"s{i}_{d}") for j, d in dims if j == i} if _is_tensor(value) else None
        for i, value in enumerate(inputs)
    )


def _captured(model: Any, inputs: tuple[Any, ...], dims: set[tuple[int, int]]) -> Any:
    return export(model, inputs, dynamic_shapes=_shapes(inputs, dims)).module()


def _works(model: Any, inputs: tuple[Any, ...], dims: set[tuple[int, int]]) -> Any:
    """The captured model; None when these dimensions cannot all be dynamic."""
    try:
        return _captured(model, inputs, dims)
    except (_core.ValueError, _core.TypeError, _core.RuntimeError):
        return None


def capture(model: Any, inputs: tuple[Any, ...]) -> Any:
    """A graph whose dimensions are dynamic wherever the model does not depend on the example's size."""
    every = {(i, d) for i, v in enumerate(inputs) if _is_tensor(v) for d in range(len(v.shape))}
    plausible = {(i, d) for i, d in every if d != 1 or len(inputs[i].shape) < 3}
    for dims in (every, plausible):
        found = _works(model, inputs, dims)
        if found is not None:
            return found
    fixed = _captured(model, inputs, set())  # what is wrong with the model itself is raised here
    dims = {dim for dim in sorted(every) if _works(model, inputs, {dim}) is not None}
    found = _works(model, inputs, dims) if dims else None
    if found is None:
        batch = {(i, d) for i, d in dims if d == 0}
        found = _works(model, inputs, batch) if batch else None
    return fixed if found is None else found


def _as_module(func: Callable[..., Any]) -> Module:
    class TracedFunction(Module):
        def forward(self, *args: Any) -> Any:
            return func(*args)

    return TracedFunction().eval()


def trace(
    func: Any,
    example_inputs: Any = None,
    optimize: Any = None,
    check_trace: bool = True,
    check_inputs: Any = None,
    check_tolerance: float = 1e-5,
    strict: bool = True,
    example_kwarg_inputs: Any = None,
    **_options: Any,
) -> ScriptModule:
    """Runs ``func`` (a module or a function) on example inputs and keeps what it computes as a graph.

    Sizes of the inputs stay dynamic wherever the model does not depend on them, so other batch, image
    and sequence sizes work.

    Args:
        func: a module in eval mode, or a function of tensors.
        example_inputs: a tensor, or a tuple of them.
        optimize, check_trace, check_inputs, check_tolerance, strict: accepted; without effect.

    Raises:
        TypeError: control flow that depends on values of tensors; the line is named.
        NotImplementedError: an operator that is not supported.
    """
    del optimize, check_trace, check_inputs, check_tolerance, strict
    if example_kwarg_inputs is not None or example_inputs is None:
        raise _core.TypeError("jit.trace needs example_inputs, a tensor or a tuple of tensors")
    if isinstance(func, ScriptModule):
        return func
    inputs = tuple(example_inputs) if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    if not isinstance(func, (Module, _core.GraphModule)):
        if not callable(func):
            raise _core.TypeError(f"jit.trace expects a module or a function, got {type(func).__name__}")
        func, name = _as_module(func), getattr(func, "__name__", "function")
    else:
        name = type(func).__name__
    return ScriptModule(capture(func, inputs), name)


_SPATIAL = {"Conv1d": 1, "Conv2d": 2, "Conv3d": 3}
_SIZES = (64, 48, 224)


def _guesses(model: Module) -> Iterator[tuple[Any, int | None]]:
    """Plausible inputs, from the first layer that fixes how many channels or features come in, and the
    dimension it fixes."""
    for layer in model.modules():
        kind = type(layer).__name__
        if kind in _SPATIAL:
            for size in _SIZES:
                yield pt2q.zeros((2, layer.in_channels) + (size,) * _SPATIAL[kind]), 1
        elif kind == "Linear":
            yield pt2q.zeros((2, layer.in_features)), 1
            yield pt2q.zeros((2, 3, layer.in_features)), 2
        elif kind == "Embedding":
            yield pt2q.zeros((2, 7), dtype=pt2q.int64), None
        else:
            continue
        return


def script(obj: Any, *_args: Any, **_options: Any) -> ScriptModule:
    """Captures a module without an example, where its layers tell what comes in and nothing else
    depends on sizes: every dimension but the channels stays dynamic.

    Raises:
        NotImplementedError: the model needs an example: use ``jit.trace``.
    """
    if isinstance(obj, ScriptModule):
        return obj
    why = "it is no module"
    if isinstance(obj, Module):
        why = "its layers do not tell what input it takes"
        for example, fixed in _guesses(obj):
            dims = {(0, d) for d in range(len(example.shape)) if d != fixed}
            try:
                return ScriptModule(_captured(obj, (example,), dims), type(obj).__name__)
            except (_core.Error, TypeError) as error:
                why = str(error).split("\n")[0]
    raise _core.NotImplementedError(
        f"jit.script cannot capture {getattr(obj, '__name__', type(obj).__name__)} without example inputs ({why}): "
        "use jit.trace(model, example_inputs)"
    )
