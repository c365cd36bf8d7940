"""One model in PyTorch and in pt2q, taken through prepare and convert side by side."""

from __future__ import annotations

import copy
import io
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from bridge import assert_same, name_of, to_pt2q
from torchao.quantization.pt2e import quantize_pt2e as torch_flow
from torchao.quantization.pt2e.quantizer import SharedQuantizationSpec as TorchShared

import pt2q
from pt2q.ao.quantization import quantize_pt2e as our_flow
from pt2q.ao.quantization.quantizer import SharedQuantizationSpec

# In-place forms are functional in pt2q; the graphs' nodes keep their names.
IGNORED = ("_guards_fn", "num_batches_tracked", "_assert_tensor_metadata")


@dataclass
class Pair:
    """The same exported program on both sides; ``fresh`` gives graphs to quantize."""

    theirs: torch.fx.GraphModule
    archive: bytes
    inputs: tuple[torch.Tensor, ...]

    def fresh(self) -> tuple[torch.fx.GraphModule, Any]:
        return copy.deepcopy(self.theirs), pt2q.export.load(io.BytesIO(self.archive)).module()


def capture(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], strict: bool = False) -> Pair:
    """Exports with PyTorch and carries the program to pt2q as a .pt2 archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, inputs, strict=strict)
        file = io.BytesIO()
        torch.export.save(program, file)
        return Pair(program.module(), file.getvalue(), inputs)


def is_compared(node: Any) -> bool:
    return not any(part in node.name for part in IGNORED)


def names(graph_module: Any) -> dict[str, str]:
    """Node name → the name it is compared under (FX avoids Python's builtins: input_1 for input)."""
    return {
        n.name: str(n.target) if n.op == "placeholder" else n.name
        for n in graph_module.graph.nodes
        if is_compared(n)
    }


# --- annotations -----------------------------------------------------------------------------------


def constructor(ctr: Any) -> tuple[Any, ...]:
    """(class, keyword arguments) of an observer factory, partials unwrapped."""
    kwargs: dict[str, Any] = {}
    while True:
        inner = getattr(ctr, "p", ctr)
        if not hasattr(inner, "func"):
            break
        kwargs = {**inner.keywords, **kwargs}
        ctr = inner.func
    plain = {k: constructor(v) if callable(v) else v for k, v in kwargs.items()}
    return ctr.__name__, tuple(sorted(plain.items()))


def described_spec(spec: Any, known: dict[str, str]) -> Any:
    if spec is None:
        return None
    if isinstance(spec, (SharedQuantizationSpec, TorchShared)):
        return "shared with", described_edge(spec.edge_or_node, known)
    fields = ("quant_min", "quant_max", "ch_axis", "is_dynamic", "scale", "zero_point")
    return (
        name_of(spec.dtype),
        None if spec.qscheme is None else name_of(spec.qscheme),
        *(getattr(spec, f, None) for f in fields),
    )


def described_edge(edge: Any, known: dict[str, str]) -> Any:
    if isinstance(edge, tuple):
        return tuple(known[n.name] for n in edge)
    return known[edge.name]


def annotations(graph_module: Any) -> dict[str, Any]:
    """Compared node name → what its annotation says, for annotated operators."""
    known = names(graph_module)
    out = {}
    for n in graph_module.graph.nodes:
        a = n.meta.get("quantization_annotation")
        # PyTorch marks some weights as annotated without saying anything about them.
        if a is None or n.op != "call_function" or n.name not in known:
            continue
        inputs = {known[i.name]: described_spec(s, known) for i, s in a.input_qspec_map.items()}
        out[n.name] = (list(inputs.items()), described_spec(a.output_qspec, known), a._annotated)
    return out


# --- prepared graphs -------------------------------------------------------------------------------


def described_args(value: Any, known: dict[str, str]) -> Any:
    """Arguments with nodes by name; numbers as they are, lists as tuples."""
    if hasattr(value, "op") and hasattr(value, "users"):
        return "%" + known.get(value.name, value.name)
    if isinstance(value, (list, tuple)):
        return tuple(described_args(v, known) for v in value)
    return name_of(value) if isinstance(value, (torch.dtype, pt2q.dtype)) else value


def operators(graph_module: Any) -> list[tuple[str, Any]]:
    """(name, the nodes it reads) of every operator, in order."""
    known = names(graph_module)
    out = []
    for n in graph_module.graph.nodes:
        if n.op == "call_function" and n.name in known:
            reads = [a for a in n.all_input_nodes if is_compared(a)]
            out.append((n.name, [known[a.name] for a in reads]))
    return out


def observers(graph_module: Any) -> dict[str, tuple[str, int, str]]:
    """Observer node → (what it observes, sharing group, class); groups count by first appearance."""
    known = names(graph_module)
    found = sorted(
        (int(n.name.rsplit("_", 1)[1]), n)
        for n in graph_module.graph.nodes
        if n.op == "call_module" and n.name.startswith("activation_post_process_")
    )
    groups: list[Any] = []
    out = {}
    for _, n in found:
        module = observer_of(graph_module, n)
        index = next((i for i, g in enumerate(groups) if g is module), len(groups))
        if index == len(groups):
            groups.append(module)
        out[n.name] = (known[n.args[0].name], index, type(module).__name__)
    return out


def observer_of(graph_module: Any, node: Any) -> Any:
    return getattr(graph_module, str(node.target))


def assert_same_prepared(ours: Any, theirs: Any) -> None:
    assert observers(ours) == observers(theirs)
    assert operators(ours) == operators(theirs)


# --- calibration -----------------------------------------------------------------------------------


def instances(graph_module: Any) -> dict[str, Any]:
    """The first node of every sharing group → its observer."""
    nodes = {n.name: n for n in graph_module.graph.nodes}
    first: dict[int, str] = {}
    for name, (_, group, _) in observers(graph_module).items():
        first.setdefault(group, name)
    return {name: observer_of(graph_module, nodes[name]) for name in first.values()}


def observe(observer: Any, value: torch.Tensor) -> None:
    observer(to_pt2q(value))


def calibrate(ours: Any, theirs: Any, batches: list[tuple[torch.Tensor, ...]]) -> None:
    """Calibrates PyTorch's model, and pt2q's observers with exactly the tensors PyTorch's have seen.

    Both sides compute float32 convolutions in their own order of summation; fed with the same
    numbers, observers must agree in every bit.
    """
    mine = instances(ours)
    hooks = [
        module.register_forward_pre_hook(lambda _, args, own=mine[name]: observe(own, args[0]))
        for name, module in instances(theirs).items()
    ]
    with torch.no_grad():
        for batch in batches:
            theirs(*batch)
    for hook in hooks:
        hook.remove()


def assert_same_parameters(ours: Any, theirs: Any) -> int:
    """Equal scales and zero points of all observers; returns how many were compared."""
    mine, count = instances(ours), 0
    for name, module in instances(theirs).items():
        if type(module).__name__ in ("PlaceholderObserver", "NoopObserver"):
            continue
        assert_same(mine[name].calculate_qparams(), module.calculate_qparams())
        count += 1
    return count


# --- the flow --------------------------------------------------------------------------------------


def prepare(pair: Pair, our_quantizer: Any, their_quantizer: Any, qat: bool = False) -> tuple[Any, Any]:
    """(ours, theirs), prepared."""
    theirs, ours = pair.fresh()
    name = "prepare_qat_pt2e" if qat else "prepare_pt2e"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(our_flow, name)(ours, our_quantizer), getattr(torch_flow, name)(theirs, their_quantizer)


def convert(ours: Any, theirs: Any) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return our_flow.convert_pt2e(ours), torch_flow.convert_pt2e(theirs)
