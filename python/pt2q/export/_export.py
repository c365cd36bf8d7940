"""Capture: the model runs once on stand-ins for its inputs, and every operator is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pt2q import _core, _pytree
from pt2q._core import GraphModule, Tensor
from pt2q._creation import as_tensor
from pt2q._trace import TraceContext
from pt2q.export._dynamic import Dim, Symbols
from pt2q.export.exported_program import ExportedProgram


def export(
    mod: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    strict: bool = False,
    preserve_module_call_signature: tuple[str, ...] = (),
) -> ExportedProgram:
    """Captures ``mod`` as a graph of ATen operators.

    Args:
        mod: an ``nn.Module``, or a GraphModule (a converted model loses its unused weights).
        args, kwargs: example inputs: tensors or arrays, nested in tuples, lists and dicts; other
            values (None, numbers, strings) become constants of the graph.
        dynamic_shapes: for every input a dict {dimension: Dim}, a tuple of Dims, or None; given as a
            tuple in the order of the inputs or a dict by name. All other sizes are fixed; a GraphModule
            given without dynamic_shapes keeps the dynamic dimensions it has.
        strict, preserve_module_call_signature: accepted for compatibility; there is one way to
            capture.

    Raises:
        pt2q.TypeError: control flow that depends on values of tensors, or wrong kinds of arguments.
        pt2q.ValueError: a decision that depends on a dynamic dimension, or inconsistent shapes.
        pt2q.NotImplementedError: an operator that is not supported. All of them name the line of the
            model.
    """
    del strict, preserve_module_call_signature
    from pt2q.nn import Module

    kwargs = dict(kwargs or {})
    if not isinstance(mod, (Module, GraphModule)):
        raise _core.TypeError(
            f"Expected `mod` to be an instance of `pt2q.nn.Module`, got {type(mod).__name__}"
        )
    if not isinstance(args, (tuple, list)):
        raise _core.TypeError(
            f"Expected `args` to be a tuple of example positional inputs, got {type(args).__name__}; "
            "write (x,) for a single input"
        )
    symbols = Symbols()
    try:
        model = _capture(mod, tuple(args), kwargs, dynamic_shapes, symbols)
    except _core.ValueError:
        if not symbols.has_auto:
            raise
        symbols = Symbols(keep_auto=False)  # Dim.AUTO: dynamic where the model allows it
        model = _capture(mod, tuple(args), kwargs, dynamic_shapes, symbols)
    model._set_extra("range_constraints", dict(symbols.ranges))
    return ExportedProgram(model, (tuple(args), kwargs), dict(symbols.ranges))


export_for_training = export


def _forward_names(mod: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    if not isinstance(mod, GraphModule):
        return _pytree.argument_names(mod.forward, args, kwargs)
    spec = mod._call_spec()
    if spec is not None and spec[0] is not None:
        names: list[str] = list(spec[0].names)
        return [*names[: len(args)], *kwargs] if kwargs else names[: len(args)]
    names = [n.name for n in mod.graph.nodes if n.op == "placeholder"]
    return names[: len(args)] + list(kwargs)


def _specs_by_name(dynamic_shapes: Any, names: list[str]) -> dict[str, Any]:
    if dynamic_shapes is None:
        return {}
    if isinstance(dynamic_shapes, dict):
        unknown = [name for name in dynamic_shapes if name not in names]
        if unknown:
            raise _core.ValueError(
                f"dynamic_shapes names '{unknown[0]}', but the model's inputs are ({', '.join(names)})"
            )
        return dynamic_shapes
    if isinstance(dynamic_shapes, (tuple, list)):
        if len(dynamic_shapes) != len(names):
            raise _core.ValueError(
                f"dynamic_shapes has {len(dynamic_shapes)} entries, but the model was given "
                f"{len(names)} inputs ({', '.join(names)})"
            )
        return dict(zip(names, dynamic_shapes))
    raise _core.TypeError(f"dynamic_shapes must be a dict, tuple or list, got {type(dynamic_shapes).__name__}")


def _leaf_specs(tree: Any, spec: Any) -> Iterator[Any]:
    """The dynamic-shape entry of every leaf of an argument."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaf_specs(value, spec.get(key) if isinstance(spec, dict) else None)
    elif isinstance(tree, (list, tuple)):
        parts = spec if isinstance(spec, (list, tuple)) else [None] * len(tree)
        for value, part in zip(tree, parts):
            yield from _leaf_specs(value, part)
    else:
        yield spec


def _dims_of_graph(model: GraphModule, leaves: list[Any]) -> list[Any]:
    """The dynamic dimensions a graph already has: exporting it again keeps them."""
    ranges = model._extra("range_constraints") or {}
    placeholders = iter([n for n in model.graph.nodes if n.op == "placeholder"])
    specs: list[Any] = []
    for leaf in leaves:
        node = next(placeholders, None) if _is_tensor(leaf) else None
        if node is None:
            specs.append(None)
            continue
        names = [None if isinstance(size, int) else str(size) for size in node.meta["val"].shape]
        dims = [n if n is not None and n.isidentifier() else None for n in names]
        specs.append([n and Dim(n, min=ranges[n].lower, max=ranges[n].upper) if n in ranges else n and Dim(n) for n in dims])
    return specs


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) or (hasattr(leaf, "shape") and _core._is_array(leaf))


def _capture(
    mod: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any, symbols: Symbols
) -> GraphModule:
    names = _forward_names(mod, args, kwargs)
    values = _pytree.bind(names, args, kwargs)
    specs = _specs_by_name(dynamic_shapes, names)
    leaves, tree = _pytree.flatten(values)
    if dynamic_shapes is None and isinstance(mod, GraphModule):
        leaf_specs = _dims_of_graph(mod, leaves)
    else:
        leaf_specs = [s for name, value in zip(names, values) for s in _leaf_specs(value, specs.get(name))]
    leaf_names = tuple(
        "_".join(str(part) for part in (names[path[0]], *path[1:])) for path in _pytree.leaf_paths(values)
    )
    inputs = _pytree.CallInputs(tuple(names), tree, leaf_names, positional=len(args))
    context = TraceContext(mod)
    traced = list(leaves)
    for i, leaf in enumerate(leaves):
        if _is_tensor(leaf):
            example = as_tensor(leaf)
            sizes = symbols.sizes(leaf_names[i], tuple(example.shape), leaf_specs[i])
            traced[i] = context.capture.add_input(leaf_names[i], example, sizes)
        else:
            inputs.constants[i] = leaf
    for name, limits in symbols.ranges.items():
        context.capture.add_range(name, limits.lower, limits.upper)
    stand_ins = _pytree.unflatten(tree, traced)
    with context:
        result = mod(*stand_ins[: len(args)], **dict(zip(names[len(args) :], stand_ins[len(args) :])))
        results, out_tree = _pytree.flatten(result)
        model = context.capture.finish([as_tensor(r) if _is_tensor(r) else r for r in results])
    _drop_unused(model, everything=isinstance(mod, GraphModule))
    flat = not inputs.constants and all(child.is_leaf for child in tree.children)
    model._set_call_spec(inputs, out_tree, flat, out_tree.is_leaf)
    model.training = bool(mod.training)
    return model


def _drop_unused(model: GraphModule, everything: bool) -> None:
    """Constants that are not read; for a model that was a graph already, all such attributes."""
    if everything:
        model.delete_all_unused_submodules()
        return
    used = {node.target for node in model.graph.nodes if node.op == "get_attr"}
    for name in model._attr_names():
        if name not in used and model._attr_kind(name) == "constant":
            delattr(model, name)
