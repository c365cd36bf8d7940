"""PyTorch and pt2q in one process: training, and exchange of exported programs without files.

A model prepared by ``prepare_qat_pt2e`` is trained by PyTorch and comes back::

    from pt2q.interop import torch as bridge

    module = bridge.to_torch(prepared)        # a torch.fx.GraphModule with fake-quantizes
    train(module)                             # any PyTorch training loop
    bridge.load_back(prepared, module)        # parameters, statistics and observers
    converted = convert_pt2e(prepared)

Importing this module needs PyTorch; the rest of pt2q never imports it.
"""

from __future__ import annotations

import copy
import io
import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

try:
    import torch
    import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed.*
except ImportError as error:
    raise ImportError(
        "pt2q.interop.torch needs PyTorch, which is not installed: pip install torch. "
        "Everything else in pt2q works without it."
    ) from error

from pt2q import _core, _pytree
from pt2q import export as _export
from pt2q.export.exported_program import ExportedProgram
from pt2q.interop._torch_observers import ByPt2q, LearnableFakeQuantize, torch_observer
from pt2q.interop._torch_tensors import tensor_from_torch, tensor_to_torch

__all__ = [
    "TorchModule",
    "disable_range_learning",
    "enable_range_learning",
    "from_exported",
    "from_torch",
    "load_back",
    "to_exported",
    "to_torch",
]

_SWITCHES = {"batch_norm": "training", "dropout": "train", "feature_dropout": "train", "alpha_dropout": "train"}


def _constant(value: Any) -> Any:
    """The PyTorch counterpart of a literal argument."""
    if isinstance(value, (_core.dtype, _core.memory_format, _core.layout)):
        return getattr(torch, str(value).rsplit(".", 1)[-1])
    if isinstance(value, _core.device):
        return torch.device(str(value))
    if isinstance(value, _core.SymInt):
        raise _core.NotImplementedError(f"a graph literal depends on the dynamic size {value}")
    return value


def _operator(node: Any) -> Any:
    name = str(node.target)
    if name in ("_operator.getitem", "getitem"):
        return operator.getitem
    namespace, packet, overload = name.split(".")
    try:
        return getattr(getattr(getattr(torch.ops, namespace), packet), overload)
    except AttributeError:
        raise _core.NotImplementedError(
            f"node '{node.name}': PyTorch has no operator {name}"
            + (
                "\nHint: pass the captured, prepared or converted model, not the compiled one"
                if namespace in ("pt2q", "onednn")
                else ""
            )
        ) from None


def _switches(graph: torch.fx.Graph, packets: Iterable[str] = _SWITCHES) -> list[tuple[Any, int, bool]]:
    """(node, position, value) of every argument that says training or evaluation."""
    found = []
    for node in graph.nodes:
        packet: str = getattr(node.target, "_opname", "")
        if packet in packets:
            names = [a.name for a in node.target._schema.arguments]
            at = names.index(_SWITCHES[packet])
            if at < len(node.args):
                found.append((node, at, bool(node.args[at])))
    return found


class TorchModule(torch.fx.GraphModule):
    """A pt2q graph as a PyTorch module; made by :func:`to_torch`.

    Parameters, buffers and fake-quantizes have the names they have in pt2q. ``train()`` and ``eval()``
    switch dropout and batch norm. ``torch.ao.quantization.disable_observer`` and its kin work through
    ``module.apply``.
    """

    def train(self, mode: bool = True) -> TorchModule:
        super().train(mode)
        self._switch(_SWITCHES, mode)
        return self

    def freeze_batch_norm(self) -> TorchModule:
        """Normalise with the running statistics, and update them no more, until ``train()`` is called
        again: the last epochs of quantization-aware training."""
        self._switch(("batch_norm",), False)
        return self

    def _switch(self, packets: Iterable[str], mode: bool) -> None:
        changed = False
        for node, at, value in _switches(self.graph, packets):
            if value != mode:
                node.update_arg(at, mode)
                changed = True
        if changed:
            self.recompile()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.training:
            for name in self.meta["batch_counters"]:
                self.get_buffer(name).add_(1)
        inputs = self.meta["inputs"]
        if inputs is not None:
            args, kwargs = tuple(_pytree.flatten_call(inputs, args, kwargs)), {}
        return super().__call__(*args, **kwargs)


Twins = Mapping[type, Callable[[Any], torch.nn.Module]]


class _Translation:
    def __init__(self, model: _core.GraphModule, twins: Twins) -> None:
        self.model = model
        self.twins = twins
        self.root = torch.nn.Module()
        self.graph = torch.fx.Graph()
        self.nodes: dict[Any, Any] = {}
        self.observers: dict[int, torch.nn.Module] = {}  # one instance may stand under several names
        self.state = model.state_dict()
        self.attributes = model._attr_names()

    def run(self) -> TorchModule:
        for name in self.attributes:
            self.add_attribute(self.root, name, tensor_to_torch(self.model.get_parameter(name)))
        children = self.model.named_children()  # kept: identities must stay distinct
        for name, observer in children:
            self.add_observer(name, observer)
        for node in self.model.graph.nodes:
            self.nodes[node] = self.translate(node)
        module = TorchModule(self.root, self.graph, "TorchModule")
        # FX takes over what the graph reads, and makes all buffers persistent.
        own = set(self.attributes)
        for name, tensor in [*self.root.named_parameters(), *self.root.named_buffers()]:
            if name in own:
                self.add_attribute(module, name, tensor)
        module.meta["source"] = self.model
        module.meta["inputs"] = self.call_inputs()
        module.meta["batch_counters"] = self.batch_counters()
        torch.nn.Module.train(module, any(value for _, _, value in _switches(module.graph)))
        return module

    def add_attribute(self, module: torch.nn.Module, path: str, tensor: torch.Tensor) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, torch.nn.Module())
            module = getattr(module, parent)
        kind = self.model._attr_kind(path)
        if kind != "parameter":
            module.register_buffer(name, tensor, persistent=kind == "buffer")
            return
        if not isinstance(tensor, torch.nn.Parameter):
            tensor = torch.nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
        module.register_parameter(name, tensor)

    def add_observer(self, name: str, observer: Any) -> None:
        module = self.observers.get(id(observer))
        if module is None:
            module = self.twins.get(type(observer), torch_observer)(observer)
            self.load_observer(name + ".", module)
            self.observers[id(observer)] = module
        self.root.add_module(name, module)

    def load_observer(self, prefix: str, module: torch.nn.Module) -> None:
        state: Any = OrderedDict()
        for name, value in self.state.items():
            if name.startswith(prefix):
                state[name[len(prefix) :]] = tensor_to_torch(value)
        # Without version numbers PyTorch takes the state for an old one and resets eps.
        state._metadata = module.state_dict()._metadata  # type: ignore[attr-defined]
        module.load_state_dict(state, strict=False)

    def argument(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(self.argument(v) for v in value)
        return self.nodes[value] if isinstance(value, _core.Node) else _constant(value)

    def translate(self, node: Any) -> Any:
        if node.op == "placeholder":
            return self.graph.placeholder(str(node.target))
        if node.op == "get_attr":
            return self.graph.get_attr(str(node.target))
        if node.op == "output":
            return self.graph.output(self.result(node))
        args = tuple(self.argument(a) for a in node.args)
        if node.op == "call_module":
            return self.graph.call_module(str(node.target), args)
        kwargs = {name: self.argument(v) for name, v in node.kwargs.items()}
        out = self.graph.create_node("call_function", _operator(node), args, kwargs, name=node.name)
        for key in ("nn_module_stack", "stack_trace"):
            if key in node.meta:
                out.meta[key] = node.meta[key]
        return out

    def result(self, node: Any) -> Any:
        value = self.argument(node.args[0])
        spec = self.model._call_spec()
        if spec is None or spec[1] is None:
            return value
        leaves = list(value) if isinstance(value, (list, tuple)) else [value]
        return _pytree.unflatten(spec[1], leaves)

    def call_inputs(self) -> Any:
        """How nested arguments are flattened; None where placeholders are the arguments."""
        spec = self.model._call_spec()
        if spec is None or spec[0] is None or spec[2]:
            return None
        return spec[0]

    def batch_counters(self) -> list[str]:
        known = set(self.attributes)
        used = {str(n.target) for n in self.model.graph.nodes if n.op == "get_attr"}
        names = [name[: -len("running_var")] + "num_batches_tracked" for name in used if name.endswith("running_var")]
        return sorted(name for name in names if name in known)


def _graph_module(model: Any) -> _core.GraphModule:
    if isinstance(model, ExportedProgram):
        return model.module()
    if not isinstance(model, _core.GraphModule):
        raise _core.TypeError(
            "expected a captured, prepared or converted pt2q model (GraphModule or ExportedProgram), "
            f"got {type(model).__name__}"
        )
    return model


def to_torch(model: Any, observers: Twins | None = None) -> TorchModule:
    """A PyTorch module that computes what ``model`` does, with gradients.

    Args:
        model: a GraphModule (captured, prepared with or without QAT, or converted) or ExportedProgram.
        observers: for classes of the user's, a function that makes the PyTorch module of an instance:
            ``{MyFakeQuantize: lambda own: MyTorchFakeQuantize(own.quant_max)}``. Its state names must be
            those of ``own.state_dict()``; parameters it learns come back under them.

    Returns:
        A :class:`TorchModule` with copies of all tensors. Observers and fake-quantizes become those of
        ``torch.ao.quantization``, with their state; one instance used twice stays one instance. A class
        without a counterpart there (a Python subclass, for example) runs in pt2q: observers pass the
        tensor on, fake-quantizes have the straight-through gradient.

    Raises:
        NotImplementedError: an operator has no counterpart in PyTorch.
    """
    return _Translation(_graph_module(model), observers or {}).run()


def enable_range_learning(module: torch.nn.Module) -> None:
    """``model.apply(enable_range_learning)``: scales and zero points of LearnableFakeQuantize are learned.

    Call it after the first batch, and make the optimizer afterwards: the parameters exist only then.
    """
    if isinstance(module, LearnableFakeQuantize):
        module.enable_range_learning()


def disable_range_learning(module: torch.nn.Module) -> None:
    """``model.apply(disable_range_learning)``: the opposite."""
    if isinstance(module, LearnableFakeQuantize):
        module.enable_range_learning(False)


def load_back(model: Any, module: torch.nn.Module) -> Any:
    """Copies parameters, buffers and the state of observers from ``module`` into ``model``.

    Args:
        model: the GraphModule that ``module`` was made from, or a copy of it. Changed in place; dropout
            and batch norm are switched to the mode ``module`` is in. Attributes that a Python observer
            keeps beside its buffers come back too.
        module: a :class:`TorchModule`, or any PyTorch module with the same state names.

    Returns:
        ``model``.

    Raises:
        KeyError: a parameter or buffer of ``model`` is missing in ``module``, or the other way round.
        RuntimeError: an observer has other buffers than its PyTorch module.
    """
    target = _graph_module(model)
    state = {name: tensor_from_torch(value) for name, value in module.state_dict().items()}
    # A derived observer shows the state of the observers it is derived from.
    wanted = {name for name in target.state_dict() if ".obs_or_fqs." not in name}
    observers = tuple(name + "." for name, _ in target.named_children())
    missing = sorted(wanted - set(state))
    unexpected = sorted(k for k in set(state) - wanted if not k.startswith(observers))
    if missing or unexpected:
        raise _core.KeyError(
            f"load_back: missing keys {missing}, unexpected keys {unexpected}: "
            "the module was not made from this model"
        )
    _load_python_attributes(target, module)
    target.load_state_dict(state, strict=False)
    switch = _core.move_exported_model_to_train if module.training else _core.move_exported_model_to_eval
    switch(target)
    return model


def _load_python_attributes(target: _core.GraphModule, module: torch.nn.Module) -> None:
    modules = dict(module.named_modules(remove_duplicate=False))
    for name, observer in target.named_children():
        twin = modules.get(name)
        if isinstance(twin, ByPt2q) and isinstance(observer, type(twin.observer)):
            for key, value in vars(twin.observer).items():
                vars(observer)[key] = copy.deepcopy(value)
            if hasattr(observer, "register_buffer"):  # made while training
                known = observer.state_dict()
                for key, value in twin.observer.state_dict().items():
                    if key not in known and "." not in key:
                        observer.register_buffer(key, value)


def from_torch(module: TorchModule) -> _core.GraphModule:
    """A new pt2q model with the state ``module`` has now; the model it was made from stays as it is."""
    if not isinstance(module, TorchModule):
        raise _core.TypeError(
            f"expected a module made by to_torch, got {type(module).__name__}: "
            "for a PyTorch model use from_exported(torch.export.export(module, example_inputs))"
        )
    return load_back(copy.deepcopy(module.meta["source"]), module)


def from_exported(program: torch.export.ExportedProgram) -> ExportedProgram:
    """The pt2q form of ``torch.export.export(...)``'s result, float or converted by PyTorch.

    Raises:
        TypeError: ``program`` is no ``torch.export.ExportedProgram``.
        NotImplementedError: it has operators that pt2q lacks; all are named.
    """
    if not isinstance(program, torch.export.ExportedProgram):
        raise _core.TypeError(
            f"expected a torch.export.ExportedProgram, got {type(program).__name__}: "
            "call torch.export.export(module, example_inputs) first"
        )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    return _export.load(buffer)


def to_exported(model: Any) -> torch.export.ExportedProgram:
    """The ``torch.export.ExportedProgram`` of a captured or converted pt2q model."""
    if not isinstance(model, ExportedProgram):
        graph_module = _graph_module(model)
        model = ExportedProgram(graph_module, None, graph_module._extra("range_constraints") or {})
    buffer = io.BytesIO()
    _export.save(model, buffer)
    buffer.seek(0)
    return torch.export.load(buffer)
