"""``torch.jit``: captured models that run through compiled kernels."""

from __future__ import annotations

from typing import Any, TypeVar

from pt2q import _core
from pt2q.jit._script_module import ScriptModule, load, save
from pt2q.jit._trace import script, trace

__all__ = [
    "ScriptModule",
    "export",
    "freeze",
    "ignore",
    "is_scripting",
    "is_tracing",
    "load",
    "optimize_for_inference",
    "save",
    "script",
    "trace",
    "unused",
]

T = TypeVar("T")


def freeze(mod: ScriptModule, *_args: Any, **_options: Any) -> ScriptModule:
    """The model itself: a captured model's weights are constants already."""
    if not isinstance(mod, ScriptModule):
        raise _core.TypeError(f"jit.freeze expects a ScriptModule, got {type(mod).__name__}")
    return mod


optimize_for_inference = freeze


def is_scripting() -> bool:
    return False


def is_tracing() -> bool:
    """Whether a model is being captured on this thread."""
    return bool(_core.is_capturing())


def ignore(fn: T) -> T:
    """Accepted; capture runs Python as it is."""
    return fn


unused = export = ignore
