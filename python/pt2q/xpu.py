"""Intel GPUs, device ``"xpu"``: through oneDNN's GPU engine, or the CPU engine where you allow it.

Without an Intel GPU, ``device="xpu"`` raises :class:`pt2q.RuntimeError`. After
``pt2q.xpu.allow_cpu_fallback()`` the same code runs on the CPU engine, with the numbers of
``device="cpu"``. ``explain()`` of a compiled model says which engine runs it.
"""

from __future__ import annotations

from typing import Any

from pt2q import _core

__all__ = [
    "allow_cpu_fallback",
    "cpu_fallback_allowed",
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "is_available",
    "synchronize",
]


def device_count() -> int:
    """The number of Intel GPUs oneDNN finds."""
    return _core._xpu_device_count()


def is_available() -> bool:
    """True when there is an Intel GPU; the fallback does not count."""
    return device_count() > 0


class _Restore:
    """Puts the previous setting back when used as ``with pt2q.xpu.allow_cpu_fallback():``."""

    def __init__(self, previous: bool) -> None:
        self._previous = previous

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _core._xpu_allow_cpu_fallback(self._previous)


def allow_cpu_fallback(allow: bool = True) -> _Restore:
    """Lets the CPU engine run what asks for ``"xpu"`` where there is no Intel GPU.

    Takes effect at once, for the whole process; in a ``with`` statement, until its end.
    """
    return _Restore(_core._xpu_allow_cpu_fallback(bool(allow)))


def cpu_fallback_allowed() -> bool:
    return _core._xpu_cpu_fallback_allowed()


def current_device() -> int:
    """The index of the device in use: always the first one."""
    return 0


def get_device_name(device: Any = None) -> str:
    """What runs models on ``"xpu"``: the GPU engine, or the CPU engine in its place."""
    del device
    return _core._xpu_engine_name()


def synchronize(device: Any = None) -> None:
    """Does nothing: a call of a model returns when its results are there."""
    del device


def empty_cache() -> None:
    """Does nothing: plans own the memory they use on the GPU and free it with the model."""
