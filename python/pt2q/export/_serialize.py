"""``export.save`` and ``export.load``: the .pt2 archive of ``torch.export``."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from pt2q import _core, _pytree
from pt2q._pytree import LEAF, CallInputs, TreeSpec
from pt2q.export._dynamic import ValueRange
from pt2q.export.exported_program import ExportedProgram
from pt2q.serialization import path_to_read, path_to_write

_KINDS = {"builtins.tuple": tuple, "builtins.list": list, "builtins.dict": dict, "collections.OrderedDict": OrderedDict}
_PROTOCOL = 1


def _to_json(spec: TreeSpec) -> dict[str, Any]:
    if spec.is_leaf:
        return {"type": None, "context": None, "children_spec": []}
    names = {kind: name for name, kind in _KINDS.items()}
    children = [_to_json(child) for child in spec.children]
    assert spec.kind is not None
    if spec.kind not in names:  # a named tuple reads as a tuple elsewhere
        return {"type": "builtins.tuple", "context": "null", "children_spec": children}
    context = json.dumps(list(spec.keys)) if issubclass(spec.kind, dict) else "null"
    return {"type": names[spec.kind], "context": context, "children_spec": children}


def _from_json(node: dict[str, Any]) -> TreeSpec:
    if node["type"] is None:
        return LEAF
    children = tuple(_from_json(child) for child in node["children_spec"])
    kind = _KINDS.get(node["type"], tuple)  # other containers read as tuples
    keys = tuple(json.loads(node["context"])) if issubclass(kind, dict) else ()
    return TreeSpec(kind, keys, children)


def _dump(spec: TreeSpec) -> str:
    return json.dumps([_PROTOCOL, _to_json(spec)])


def _call_tree(inputs: CallInputs) -> TreeSpec:
    """The structure of (args, kwargs) of a call."""
    positional = inputs.spec.children[: inputs.positional]
    names = inputs.names[inputs.positional :]
    keywords = TreeSpec(dict, names, inputs.spec.children[inputs.positional :])
    return TreeSpec(tuple, (), (TreeSpec(tuple, (), positional), keywords))


def _specs(model: Any) -> tuple[str, str]:
    """The in_spec and out_spec texts of a model."""
    found = model._call_spec()
    if found is None:
        count = len(model.graph.find_nodes(op="placeholder"))
        args = TreeSpec(tuple, (), (LEAF,) * count)
        tree = TreeSpec(tuple, (), (args, TreeSpec(dict, (), ())))
        result = model.graph.output_node().args[0]
        many = isinstance(result, (tuple, list))
        return _dump(tree), _dump(TreeSpec(tuple, (), (LEAF,) * len(result)) if many else LEAF)
    inputs, results, _, _ = found
    if inputs.constants:
        names = ", ".join(inputs.leaf_names[i] for i in inputs.constants)
        raise _core.NotImplementedError(
            f"export.save: the inputs {names} were captured as constants, which the file cannot express: "
            "export the model without them (bind them in a small wrapper module)"
        )
    return _dump(_call_tree(inputs)), _dump(results)


def save(
    ep: ExportedProgram,
    f: Any,
    *,
    extra_files: dict[str, Any] | None = None,
    opset_version: Any = None,
    pickle_protocol: Any = None,
) -> None:
    """Writes an exported program as a ``.pt2`` archive, which ``torch.export.load`` opens too.

    int8 weights are stored once, as int8. The old file stays intact until the new one is complete.

    Args:
        ep: what ``pt2q.export.export`` returns.
        f: path or binary file.
        extra_files: names and texts to store beside the program.

    Raises:
        TypeError: ``ep`` is no ExportedProgram.
        ValueError: the model holds observers.
        FileError: the file cannot be written.
    """
    del opset_version, pickle_protocol
    if not isinstance(ep, ExportedProgram):
        raise TypeError(
            f"The 'ep' parameter must be an instance of 'ExportedProgram', got '{type(ep).__name__}' "
            "instead: call pt2q.export.export first"
        )
    model = ep.graph_module
    in_spec, out_spec = _specs(model)
    ranges = {name: (int(r.lower), _limit(r.upper)) for name, r in ep.range_constraints.items()}
    files = {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in (extra_files or {}).items()}
    with path_to_write(f) as path:
        _core._save_program(model, path, in_spec, out_spec, ranges, files)


def _limit(upper: Any) -> int:
    """-1 for "no upper bound"."""
    return int(upper) if upper is not None and upper < 2**62 else -1


def load(
    f: Any,
    *,
    extra_files: dict[str, Any] | None = None,
    expected_opset_version: Any = None,
    mmap: bool = False,
) -> ExportedProgram:
    """Reads a ``.pt2`` archive of ``torch.export.save`` or ``pt2q.export.save``; executes nothing in it.

    Args:
        f: path or binary file.
        extra_files: a dict whose keys name extra files; the values are filled in.
        mmap: leave the weights in the file: they are read-only, shared by all processes that map it, and
            leave memory once ``compile`` has packed them. The file must not be cut or written to while the
            model is in use (that ends the process); replacing it, as ``save`` does, is safe.

    Raises:
        FileError: the file is missing or damaged.
        NotImplementedError: the model needs operators that are not supported; all are named.
    """
    del expected_opset_version
    with path_to_read(f) as path:
        model, in_text, out_text, limits, files = _core._load_program(path, mmap)
    if extra_files is not None:
        extra_files.update({name: files[name] for name in extra_files if name in files})
    ranges = {k: ValueRange(low, 2**63 - 1 if high < 0 else high) for k, (low, high) in limits.items()}
    if in_text is not None and out_text is not None:
        try:
            _set_call_spec(model, json.loads(in_text), json.loads(out_text))
        except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as e:
            raise _core.FileError(f"'{f}': its description of inputs and outputs is damaged ({e})") from e
    model._set_extra("range_constraints", ranges)
    return ExportedProgram(model, None, ranges)


def _set_call_spec(model: Any, in_tree: Any, out_tree: Any) -> None:
    args, kwargs = (_from_json(in_tree[1]).children + (LEAF, LEAF))[:2]
    placeholders = model.graph.find_nodes(op="placeholder")
    spec = TreeSpec(tuple, (), args.children + kwargs.children)
    if spec.num_leaves != len(placeholders):
        return  # an unusual call structure: the inputs are given flat
    names, position = [], 0
    for child in args.children:
        names.append(placeholders[position].target if child.num_leaves else f"arg{position}")
        position += child.num_leaves
    names += [str(key) for key in kwargs.keys]
    leaves = tuple(p.target for p in placeholders)
    inputs = _pytree.CallInputs(tuple(names), spec, leaves, positional=len(args.children))
    out_spec = _from_json(out_tree[1])
    flat = not kwargs.children and all(child.is_leaf for child in args.children)
    model._set_call_spec(inputs, out_spec, flat, out_spec.is_leaf)
