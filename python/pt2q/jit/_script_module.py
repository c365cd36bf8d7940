"""A captured model that runs through compiled kernels, with TorchScript's methods."""

from __future__ import annotations

import copy
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from pt2q import _core
from pt2q.export import ExportedProgram
from pt2q.nn.modules.module import Module
from pt2q.serialization import path_to_read


class ScriptModule(Module):
    """What ``jit.trace``, ``jit.script``, ``jit.load`` and ``ipex.quantization.convert`` return.

    Calls compile the graph at the first one, so that warm-up is not needed; while it holds observers
    it runs as it is. Calls may come from several threads unless it holds observers.
    """

    def __init__(self, graph_module: Any, original_name: str = "ScriptModule") -> None:
        super().__init__()
        self.__dict__.update(
            _graph_module=graph_module,
            _compiled=None,
            _compile_lock=threading.Lock(),
            original_name=original_name,
            training=False,
        )

    # --- running -------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._graph_module._prepared or _core.is_capturing():
            return self._graph_module(*args, **kwargs)
        return self._lowered()(*args, **kwargs)

    def _lowered(self) -> Any:
        if self._compiled is None:
            with self._compile_lock:
                if self._compiled is None:
                    self.__dict__["_compiled"] = _core._compile(self._graph_module)
        return self._compiled

    def _replace(self, graph_module: Any) -> None:
        self.__dict__["_graph_module"] = graph_module
        self.__dict__["_compiled"] = None

    # --- looking at it -------------------------------------------------------------------------

    @property
    def graph(self) -> Any:
        """The graph as captured or quantized, before it is lowered."""
        return self._graph_module.graph

    inlined_graph = graph

    @property
    def graph_module(self) -> Any:
        return self._graph_module

    @property
    def code(self) -> str:
        return str(self._graph_module.code)

    def graph_for(self, *inputs: Any) -> str:
        """Text: every stage of lowering, the fused graph, and the kernels that run for ``inputs``."""
        if self._graph_module._prepared:
            return str(self._graph_module.graph)
        return str(self._lowered().stages(self._graph_module, *inputs))

    def explain(self, *inputs: Any) -> str:
        """Text: kernel, dtype and layout of every step for ``inputs``."""
        return str(self._lowered().explain(*inputs))

    # --- as a module ---------------------------------------------------------------------------

    def train(self, mode: bool = True) -> ScriptModule:
        if mode:
            raise _core.NotImplementedError(
                "a captured model cannot be put into training mode: train the original model"
            )
        return self

    def to(self, *args: Any, **kwargs: Any) -> ScriptModule:
        self._graph_module.to(*args, **kwargs)
        self.__dict__["_compiled"] = None
        return self

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        memo = set() if memo is None else memo
        if remove_duplicate and id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, module in self._graph_module.named_children():
            yield (f"{prefix}.{name}" if prefix else name), module

    def named_children(self) -> Iterator[tuple[str, Any]]:
        return iter(self._graph_module.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        del recurse, remove_duplicate
        for name, value in self._graph_module.named_parameters():
            yield (f"{prefix}.{name}" if prefix else name), value

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        del recurse, remove_duplicate
        for name, value in self._graph_module.named_buffers():
            yield (f"{prefix}.{name}" if prefix else name), value

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Any]:
        del keep_vars
        state = self._graph_module.state_dict()
        return OrderedDict((prefix + name, value) for name, value in state.items())

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        del assign
        self.__dict__["_compiled"] = None
        return self._graph_module.load_state_dict(state_dict, strict)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_graph_module" not in self.__dict__:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return getattr(self._graph_module, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> ScriptModule:
        made = ScriptModule(copy.deepcopy(self._graph_module, memo), self.original_name)
        memo[id(self)] = made
        return made

    def copy(self) -> ScriptModule:
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        lines = [f"\n  ({name}): {module!r}" for name, module in self.named_children()]
        return f"{self.original_name}(original_name={self.original_name}{''.join(lines)}{chr(10) if lines else ''})"

    # --- files ---------------------------------------------------------------------------------

    def save(self, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
        """Writes the graph and its integer weights as a ``.pt2`` archive; ``jit.load`` reads it.

        Raises:
            ValueError: the model holds observers.
            FileError: the file cannot be written.
        """
        from pt2q.export._serialize import save

        ranges = self._graph_module._extra("range_constraints") or {}
        save(ExportedProgram(self._graph_module, None, ranges), f, extra_files=_extra_files)


def save(m: ScriptModule, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
    """``m.save(f)``."""
    if not isinstance(m, ScriptModule):
        raise _core.TypeError(f"jit.save expects a ScriptModule, got {type(m).__name__}: use jit.trace")
    m.save(f, _extra_files)


def load(f: Any, map_location: Any = None, _extra_files: dict[str, Any] | None = None) -> ScriptModule:
    """Reads what ``ScriptModule.save`` wrote, or any ``.pt2`` archive. Executes nothing in it.

    Raises:
        FileError: the file is missing or damaged.
        NotImplementedError: a TorchScript archive of PyTorch (it holds code), or an operator that is
            not supported.
    """
    from pt2q.export._serialize import load as load_program

    with path_to_read(f) as path:
        if _is_torchscript(path):
            raise _core.NotImplementedError(
                f"'{path}' is a TorchScript archive, which holds code: "
                "save the model in PyTorch with torch.export.save instead"
            )
        model = load_program(path, extra_files=_extra_files).graph_module
    return ScriptModule(model if map_location is None else model.to(map_location), "LoadedModule")


def _is_torchscript(path: Any) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return any(n.endswith("/constants.pkl") for n in names) and any("/code/" in n for n in names)
