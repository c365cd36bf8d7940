"""``pt2q.amp.autocast``, with the signature of ``torch.amp.autocast``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pt2q import _core

_DEVICES = ("cpu", "xpu")


def _device(device_type: Any) -> Any:
    name = getattr(device_type, "type", device_type)
    if name not in _DEVICES:
        raise _core.ValueError(
            f"autocast: device_type must be one of {', '.join(_DEVICES)}, got {device_type!r}"
        )
    return _core.device(name)


def is_autocast_available(device_type: str) -> bool:
    return getattr(device_type, "type", device_type) in _DEVICES


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """Whether autocast is on for this device, on this thread."""
    return _core._autocast_enabled(_device(device_type))


def get_autocast_dtype(device_type: str = "cpu") -> Any:
    """The dtype autocast uses: bfloat16."""
    _device(device_type)
    return _core.bfloat16


class autocast:
    """Context manager and decorator. Within it, on this thread:

    * convolutions and matrix products take float32 operands in bfloat16 and give bfloat16;
    * what follows inherits the dtype, and losses and a few others go back to float32, as on
      PyTorch's CPU;
    * ``pt2q.compile`` makes int8-mixed-bf16 models: int8 in, and int8 or bfloat16 out, for layers
      with quantized operands.

    Args:
        device_type: ``"cpu"`` or ``"xpu"``.
        dtype: ``bfloat16``, the default. float32 switches autocast off, with a warning, as PyTorch.
        enabled: False makes it a no-op inside an outer autocast.

    Raises:
        NotImplementedError: for float16.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        del cache_enabled
        self.device = device_type
        self.fast_dtype = _core.bfloat16 if dtype is None else dtype
        self._target = _device(device_type)
        if self.fast_dtype is _core.float16:
            raise _core.NotImplementedError("autocast: float16 has no kernels here; use bfloat16")
        if self.fast_dtype is not _core.bfloat16 and enabled:
            import warnings

            warnings.warn(f"autocast: only bfloat16 is supported, got {dtype}: switched off", stacklevel=2)
            enabled = False
        self._enabled = bool(enabled)
        self._saved: list[bool] = []

    def __enter__(self) -> autocast:
        self._saved.append(_core._set_autocast_enabled(self._target, self._enabled))
        return self

    def __exit__(self, *exc: object) -> None:
        _core._set_autocast_enabled(self._target, self._saved.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device, self.fast_dtype, self._enabled):
                return function(*args, **kwargs)

        return wrapper
