"""no_grad and its relatives. There is no autograd: they only remember what was asked for."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

_state = threading.local()


def is_grad_enabled() -> bool:
    return getattr(_state, "grad", True)


def is_inference_mode_enabled() -> bool:
    return getattr(_state, "inference", False)


class _Mode:
    """A context manager that is also a decorator, with or without parentheses."""

    _flag = "grad"
    _value: bool = False
    _previous: list[bool]

    def __new__(cls, function: Any = None, *args: Any, **kwargs: Any) -> Any:
        mode = super().__new__(cls)
        mode._previous = []
        if callable(function):  # @no_grad
            return mode(function)
        return mode

    def _current(self) -> bool:
        return is_grad_enabled() if self._flag == "grad" else is_inference_mode_enabled()

    def __enter__(self) -> None:
        self._previous.append(self._current())
        setattr(_state, self._flag, self._value)

    def __exit__(self, *exc: object) -> None:
        setattr(_state, self._flag, self._previous.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)._like(self):
                return function(*args, **kwargs)

        return wrapper

    @classmethod
    def _like(cls, other: _Mode) -> _Mode:
        mode: _Mode = cls()
        mode._value = other._value
        return mode


class no_grad(_Mode):
    """Context manager and decorator; accepted for compatibility."""


class enable_grad(_Mode):
    """Context manager and decorator; accepted for compatibility."""

    _value = True


class inference_mode(_Mode):
    """Context manager and decorator; accepted for compatibility."""

    _flag = "inference"
    _value = True

    def __init__(self, mode: Any = True) -> None:
        if isinstance(mode, bool):
            self._value = mode


class set_grad_enabled(_Mode):
    """Takes effect when called; restores when used as a context manager."""

    def __init__(self, mode: bool = True) -> None:
        self._value = bool(mode)
        self._before = is_grad_enabled()
        _state.grad = self._value

    def __enter__(self) -> None:
        self._previous.append(self._before)
        _state.grad = self._value
