"""``pt2q.ops``: the operator table as attributes, ``pt2q.ops.aten.conv2d.default``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pt2q import _core


class UnsupportedOperatorError(_core.NotImplementedError, AttributeError):
    """An operator that is not in the table; also an AttributeError, so that hasattr() works."""


def unsupported(what: str, operator: str) -> UnsupportedOperatorError:
    """The error for an operator that does not exist, naming the user's line during capture."""
    message = what
    if _core.is_capturing():
        line = _core.user_source_line()
        message += f"; the model calls it at {line}" if line else ""
    error = UnsupportedOperatorError(message)
    error.op = operator
    error.hint = "dir(pt2q.ops.aten) lists the supported operators"
    return error


def get_op(name: str) -> Any:
    """The operator of an overload name such as "aten.relu.default"."""
    return _core.get_op(name)


class OpNamespace:
    """All operators of one namespace."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        full = f"{self._name}.{name}"
        if name.startswith("__") or not _core.has_packet(full):
            raise unsupported(f"operator {full} is not supported", full)
        packet = _core.get_packet(full)
        self.__dict__[name] = packet
        return packet

    def __dir__(self) -> list[str]:
        prefix = self._name + "."
        found = (n[len(prefix) :] for n in _core.op_names() if n.startswith(prefix))
        return sorted({n.split(".")[0] for n in found})

    def __iter__(self) -> Iterator[str]:
        return iter(dir(self))

    def __repr__(self) -> str:
        return f"<namespace pt2q.ops.{self._name}>"


class _Ops:
    """Namespaces: aten, quantized_decomposed, onednn."""

    def __getattr__(self, name: str) -> OpNamespace:
        if name.startswith("__"):
            raise AttributeError(name)
        namespace = OpNamespace(name)
        self.__dict__[name] = namespace
        return namespace

    def __dir__(self) -> list[str]:
        return sorted({name.split(".")[0] for name in _core.op_names()})


ops = _Ops()
