"""What is being captured on this thread; ``nn.Module.__call__`` tells it where it is."""

from __future__ import annotations

import threading
from typing import Any

from pt2q import _core
from pt2q._core import Tensor

_state = threading.local()


def current() -> Any:
    """Who hears of modules on this thread: a TraceContext, a calibration, or None."""
    return getattr(_state, "context", None)


def set_current(context: Any) -> None:
    """Makes ``context`` hear of every module that is entered and left; None: nobody."""
    _state.context = context


def qualified_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class TraceContext:
    """A capture of ``root``: its parameters are known by their dotted names."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.capture = _core.Capture()
        self._paths: dict[int, str] = {}
        self._stack: list[str] = []
        self._graph_modules: list[Any] = []
        if not isinstance(root, _core.GraphModule):
            self._register(root)

    def _register(self, root: Any) -> None:
        for path, module in root.named_modules():
            self._paths[id(module)] = path
        transient = root.non_persistent_buffer_names()
        for name, tensor in root.named_parameters():
            self.capture.add_attribute(name, tensor, "parameter")
        for name, tensor in root.named_buffers():
            kind = "non_persistent_buffer" if name in transient else "buffer"
            self.capture.add_attribute(name, tensor, kind)
        for path, module in root.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    self.capture.add_attribute(f"{path}.{name}" if path else name, value, "constant")

    def push_module(self, module: Any) -> None:
        path = self._paths.get(id(module))
        if path is None:  # made inside forward()
            parent = self._stack[-1] if self._stack else ""
            name = type(module).__name__
            path = f"{parent}.{name}" if parent else name
        self._stack.append(path)
        self.capture.push_module(path, qualified_name(type(module)))

    def pop_module(self) -> None:
        self._stack.pop()
        self.capture.pop_module()

    def prefix_for(self, graph_module: Any) -> str:
        """Where the attributes of a GraphModule go that is called inside the captured model."""
        if graph_module is self.root:
            return ""
        for i, known in enumerate(self._graph_modules):
            if known is graph_module:
                return f"_graph_module_{i}."
        self._graph_modules.append(graph_module)
        return f"_graph_module_{len(self._graph_modules) - 1}."

    def __enter__(self) -> TraceContext:
        self.capture.__enter__()
        self._outer = current()
        _state.context = self
        return self

    def __exit__(self, *exc: object) -> None:
        _state.context = self._outer
        self.capture.__exit__(*exc)


def prefix_for(graph_module: Any) -> str:
    context = current()
    return context.prefix_for(graph_module) if context is not None else ""
