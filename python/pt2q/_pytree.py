"""Nested inputs and outputs: tuples, lists, dicts and named tuples flattened to leaves."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pt2q import _core


@dataclass(frozen=True)
class TreeSpec:
    """The structure of a tree without its leaves. ``kind`` is None for a leaf."""

    kind: type | None = None
    keys: tuple[Any, ...] = ()  # of a dict
    children: tuple[TreeSpec, ...] = ()

    @property
    def is_leaf(self) -> bool:
        return self.kind is None

    @property
    def num_leaves(self) -> int:
        return 1 if self.is_leaf else sum(child.num_leaves for child in self.children)

    def __str__(self) -> str:
        if self.kind is None:
            return "*"
        parts = [str(child) for child in self.children]
        if issubclass(self.kind, dict):
            return "{" + ", ".join(f"{k!r}: {p}" for k, p in zip(self.keys, parts)) + "}"
        opening, closing = "[]" if self.kind is list else "()"
        return opening + ", ".join(parts) + ("," if opening == "(" and len(parts) == 1 else "") + closing


LEAF = TreeSpec()


def _is_namedtuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _children(tree: Any) -> tuple[tuple[Any, ...], Sequence[Any]] | None:
    """Keys and items of a container, None for a leaf."""
    kind = type(tree)
    if kind in (list, tuple):
        return (), tree
    if kind in (dict, OrderedDict):
        return tuple(tree), list(tree.values())
    if _is_namedtuple(kind):
        return (), tuple(tree)
    return None


def flatten(tree: Any) -> tuple[list[Any], TreeSpec]:
    """Leaves in order, and the structure they came from."""
    found = _children(tree)
    if found is None:
        return [tree], LEAF
    keys, items = found
    leaves: list[Any] = []
    specs = []
    for item in items:
        part, spec = flatten(item)
        leaves += part
        specs.append(spec)
    return leaves, TreeSpec(type(tree), keys, tuple(specs))


def unflatten(spec: TreeSpec, leaves: Sequence[Any]) -> Any:
    """The inverse of flatten."""
    if len(leaves) != spec.num_leaves:
        raise _core.ValueError(f"expected {spec.num_leaves} leaves for {spec}, got {len(leaves)}")
    return _build(spec, iter(leaves))


def _build(spec: TreeSpec, leaves: Iterator[Any]) -> Any:
    if spec.kind is None:
        return next(leaves)
    items = [_build(child, leaves) for child in spec.children]
    if issubclass(spec.kind, dict):
        return spec.kind(zip(spec.keys, items))
    kind: Any = spec.kind
    return kind(*items) if _is_namedtuple(kind) else kind(items)


def leaf_paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Keys and positions that lead to each leaf."""
    found = _children(tree)
    if found is None:
        return [path]
    keys, items = found
    names = keys or range(len(items))
    return [p for name, item in zip(names, items) for p in leaf_paths(item, (*path, name))]


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    leaves, spec = flatten(tree)
    return unflatten(spec, [function(leaf) for leaf in leaves])


@dataclass
class CallInputs:
    """How a captured model is called: parameter names, structure, and specialised constants."""

    names: tuple[str, ...]  # of the example's arguments, keywords included, in order
    spec: TreeSpec  # of the tuple of their values
    leaf_names: tuple[str, ...]
    constants: dict[int, Any] = field(default_factory=dict)  # leaf position → value
    positional: int = 0  # how many of `names` were positional in the example

    def describe(self) -> str:
        return "(" + ", ".join(self.names) + ")"


def bind(names: Sequence[str], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Values in the order of ``names``; throws naming what is missing or too much."""
    inputs = "(" + ", ".join(names) + ")"
    if len(args) > len(names):
        raise _core.TypeError(f"the model takes {len(names)} inputs {inputs}, got {len(args)}")
    values = dict(zip(names, args))
    for name, value in kwargs.items():
        if name not in names:
            raise _core.TypeError(f"the model has no input '{name}'; its inputs are {inputs}")
        if name in values:
            raise _core.TypeError(f"got two values for the input '{name}'")
        values[name] = value
    missing = [name for name in names if name not in values]
    if missing:
        raise _core.TypeError(
            f"the model takes {len(names)} inputs {inputs}, got {len(args) + len(kwargs)}: "
            f"missing {', '.join(missing)}"
        )
    return tuple(values[name] for name in names)


def flatten_call(inputs: CallInputs, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The tensors of a call, in the order of the model's placeholders."""
    values = bind(inputs.names, args, kwargs)
    leaves, spec = flatten(values)
    if spec != inputs.spec:
        for name, mine, example in zip(inputs.names, spec.children, inputs.spec.children):
            if mine != example:
                raise _core.TypeError(
                    f"input '{name}' has the structure {mine}, but the model was captured with {example}"
                )
    for position, constant in inputs.constants.items():
        value = leaves[position]
        same = value is constant or (type(value) is type(constant) and value == constant)
        if not same:
            raise _core.ValueError(
                f"input '{inputs.leaf_names[position]}' was captured with the constant {constant!r}, "
                f"got {value!r}"
            )
    return [leaf for i, leaf in enumerate(leaves) if i not in inputs.constants]


def argument_names(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """A name for every argument of a call, from the function's signature."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for p in parameters:
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and len(names) < len(args):
            names.append(p.name)
        elif p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}_{i}" for i in range(len(args) - len(names))]
    names += [f"arg{i}" for i in range(len(names), len(args))]
    return names + list(kwargs)
