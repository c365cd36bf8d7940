"""Functions of the torch namespace that are no operators."""

from __future__ import annotations

from typing import Any, NamedTuple

from pt2q import _core
from pt2q._core import Tensor
from pt2q._creation import as_tensor


def is_tensor(obj: Any) -> bool:
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    return input.is_floating_point()


def numel(input: Tensor) -> int:
    return input.numel()


def isclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:  # fmt: skip
    """Element-wise ``|input - other| <= atol + rtol * |other|``; equal infinities are close."""
    a, b = as_tensor(input), as_tensor(other)
    if a.dtype is not b.dtype:
        raise _core.RuntimeError(f"{a.dtype} did not match {b.dtype}")
    close = a == b
    if a.dtype.is_floating_point:
        near = (a - b).abs() <= atol + rtol * b.abs()
        close = close.logical_or(near.logical_and(b.isfinite()).logical_and(a.isfinite()))
        if equal_nan:
            close = close.logical_or(a.isnan().logical_and(b.isnan()))
    elif a.dtype is not _core.bool:
        wide_a, wide_b = a.double(), b.double()
        close = close.logical_or((wide_a - wide_b).abs() <= atol + rtol * wide_b.abs())
    return close


def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:  # fmt: skip
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Any, other: Any) -> bool:
    """Same shape and same values."""
    a, b = as_tensor(input), as_tensor(other)
    return tuple(a.shape) == tuple(b.shape) and (a.numel() == 0 or bool((a == b).all()))


class finfo(NamedTuple("_FInfo", [("dtype", Any)])):
    """Limits of a floating-point dtype."""

    __slots__ = ()

    def __new__(cls, dtype: Any = _core.float32) -> finfo:
        if dtype._name not in _FLOATS:
            raise _core.TypeError(f"finfo() requires a floating point dtype, got {dtype}")
        return super().__new__(cls, dtype)

    bits = property(lambda self: self.dtype.itemsize * 8)
    max = property(lambda self: _FLOATS[self.dtype._name][0])
    min = property(lambda self: -_FLOATS[self.dtype._name][0])
    eps = property(lambda self: _FLOATS[self.dtype._name][1])
    tiny = property(lambda self: _FLOATS[self.dtype._name][2])
    smallest_normal = tiny


# largest value, distance of 1 to the next value, smallest normal value
_FLOATS: dict[str, tuple[float, ...]] = {
    "float64": (1.7976931348623157e308, 2.0**-52, 2.0**-1022),
    "float32": ((2 - 2.0**-23) * 2.0**127, 2.0**-23, 2.0**-126),
    "float16": (65504.0, 2.0**-10, 2.0**-14),
    "bfloat16": ((2 - 2.0**-7) * 2.0**127, 2.0**-7, 2.0**-126),
    "float8_e4m3fn": (448.0, 2.0**-3, 2.0**-6),
    "float8_e5m2": (57344.0, 2.0**-2, 2.0**-14),
}


class iinfo(NamedTuple("_IInfo", [("dtype", Any)])):
    """Limits of an integer dtype, the quantized ones included."""

    __slots__ = ()

    def __new__(cls, dtype: Any) -> iinfo:
        if dtype.is_floating_point or dtype is _core.bool:
            raise _core.TypeError(f"iinfo() requires an integer dtype, got {dtype}")
        return super().__new__(cls, dtype)

    bits = property(lambda self: self.dtype.itemsize * 8)
    min = property(lambda self: -(2 ** (self.bits - 1)) if self.dtype.is_signed else 0)
    max = property(lambda self: 2 ** (self.bits - (1 if self.dtype.is_signed else 0)) - 1)


def get_num_threads() -> int:
    """Threads that one call may use."""
    return _core.get_num_threads()


def set_num_threads(n: int) -> None:
    if not isinstance(n, int) or n < 1:
        raise _core.ValueError("set_num_threads expects a positive integer")
    _core.set_num_threads(n)


def set_printoptions(**options: Any) -> None:
    """precision, threshold, edgeitems, linewidth and sci_mode of printed tensors."""
    from pt2q._tensor_str import OPTIONS

    for name, value in options.items():
        if not hasattr(OPTIONS, name):
            raise _core.TypeError(f"set_printoptions() got an unexpected keyword argument '{name}'")
        if value is not None or name == "sci_mode":
            setattr(OPTIONS, name, value)
