"""Functions that make tensors, with PyTorch's signatures."""

from __future__ import annotations

from typing import Any

from pt2q import _core
from pt2q._core import Tensor

_default_dtype = _core.float32


def get_default_dtype() -> _core.dtype:
    """The dtype of floating-point tensors made without one."""
    return _default_dtype


def set_default_dtype(d: _core.dtype) -> None:
    global _default_dtype
    if not d.is_floating_point:
        raise _core.TypeError(f"only floating-point types are supported as the default, got {d}")
    _default_dtype = d


def _sizes(size: tuple[Any, ...]) -> list[Any]:
    if len(size) == 1 and isinstance(size[0], (list, tuple)):
        size = tuple(size[0])
    for item in size:
        if not isinstance(item, _core.SymInt) and not hasattr(item, "__index__"):
            raise _core.TypeError(f"sizes must be integers, got {type(item).__name__}")
        if not isinstance(item, _core.SymInt) and item < 0:
            raise _core.ValueError(f"negative size {item} in shape {list(size)}")
    return list(size)


def _call(name: str, *args: Any, dtype: Any = None, device: Any = None) -> Tensor:
    return _core.call(f"aten.{name}", *args, dtype=dtype, device=device)


# --- from data ------------------------------------------------------------------------------------


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data``: nested sequences, numbers, arrays or tensors."""
    del requires_grad
    if dtype is None and _default_dtype is not _core.float32:
        result = _core._tensor(data)
        is_number = isinstance(data, (list, tuple, float))
        if is_number and result.dtype is _core.float32:
            result = _core._tensor(data, _default_dtype)
    else:
        result = _core._tensor(data, dtype)
    return result if device is None else result.to(device)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing its memory when possible."""
    if isinstance(data, Tensor):
        result = data
    elif _core._is_array(data):
        result = _core.from_numpy(data)
    else:
        result = tensor(data, dtype=dtype)
    if dtype is not None and result.dtype is not dtype:
        result = result.to(dtype)
    return result if device is None else result.to(device)


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    result = as_tensor(obj, dtype, device)
    return result.clone() if copy else result


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor that shares the array's memory; any strides, read-only arrays included."""
    if not _core._is_array(ndarray):
        raise _core.TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return _core.from_numpy(ndarray)


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return full([], s, dtype=dtype or _default_dtype, device=device)


# --- filled ---------------------------------------------------------------------------------------


def empty(*size: Any, dtype: Any = None, device: Any = None, memory_format: Any = None, requires_grad: bool = False, pin_memory: bool = False, layout: Any = None, out: None = None) -> Tensor:  # fmt: skip
    """Uninitialised memory."""
    result = _core.call("aten.empty.memory_format", _sizes(size), dtype=dtype or _default_dtype, device=device)  # fmt: skip
    return result if memory_format is None else result.contiguous(memory_format=memory_format)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None, out: None = None) -> Tensor:  # fmt: skip
    return _call("zeros.default", _sizes(size), dtype=dtype or _default_dtype, device=device)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, layout: Any = None, out: None = None) -> Tensor:  # fmt: skip
    return _call("ones.default", _sizes(size), dtype=dtype or _default_dtype, device=device)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    if dtype is None:
        kinds = {bool: _core.bool, int: _core.int64}
        dtype = kinds.get(type(fill_value), _default_dtype)
    return _call("full.default", _sizes((size,)), fill_value, dtype=dtype, device=device)


def _like(name: str, input: Any, dtype: Any, device: Any, memory_format: Any) -> Tensor:
    return _core.call(f"aten.{name}", input, dtype=dtype, device=device, memory_format=memory_format)


def empty_like(input: Any, *, dtype: Any = None, device: Any = None, memory_format: Any = None) -> Tensor:
    return _like("empty_like.default", input, dtype, device, memory_format)


def zeros_like(input: Any, *, dtype: Any = None, device: Any = None, memory_format: Any = None) -> Tensor:
    return _like("zeros_like.default", input, dtype, device, memory_format)


def ones_like(input: Any, *, dtype: Any = None, device: Any = None, memory_format: Any = None) -> Tensor:
    return _like("ones_like.default", input, dtype, device, memory_format)


def full_like(input: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return _core.call("aten.full_like.default", input, fill_value, dtype=dtype, device=device)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None) -> Tensor:
    dtype = dtype or _default_dtype
    if m is None:
        return _call("eye.default", n, dtype=dtype, device=device)
    return _call("eye.m", n, m, dtype=dtype, device=device)


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:  # fmt: skip
    if end is None:
        start, end = 0, start
    if dtype is None and any(isinstance(v, float) for v in (start, end, step)):
        dtype = _default_dtype
    return _call("arange.start_step", start, end, step, dtype=dtype, device=device)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    return _call("linspace.default", start, end, steps, dtype=dtype or _default_dtype, device=device)


# --- random ---------------------------------------------------------------------------------------


class Generator:
    """A source of random numbers of its own.

    Drawing from it leaves the global stream (``pt2q.manual_seed``) where it was.
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = _core.device(device)
        self._generator = _core._Generator()

    def manual_seed(self, seed: int) -> Generator:
        self._generator.manual_seed(_seed64(seed))
        return self

    def seed(self) -> int:
        import secrets

        value = secrets.randbits(63)
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        return self._generator.initial_seed()


class _DefaultGenerator(Generator):
    def __init__(self) -> None:
        self.device = _core.device("cpu")
        self._generator = _core._default_generator()


default_generator: Generator = _DefaultGenerator()


def _seed64(seed: int) -> int:
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise _core.TypeError(f"a seed is an integer, got {type(seed).__name__}")
    value = int(seed)
    if not -(2**63) <= value < 2**64:
        raise _core.ValueError(f"Overflow when unpacking long: the seed {value} needs more than 64 bits")
    return value % 2**64


def manual_seed(seed: int) -> Generator:
    """Seeds the global stream."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    return default_generator.seed()


def initial_seed() -> int:
    return default_generator.initial_seed()


def _random(name: str, args: list[Any], generator: Generator | None, dtype: Any, device: Any) -> Tensor:
    own: Any = None if generator is None else generator._generator
    with _core._UseGenerator(own):
        return _call(name, *args, dtype=dtype, device=device)


def rand(*size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Uniform values in [0, 1)."""
    return _random("rand.default", [_sizes(size)], generator, dtype or _default_dtype, device)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Normal values with mean 0 and variance 1."""
    return _random("randn.default", [_sizes(size)], generator, dtype or _default_dtype, device)


def randint(low: int, high: Any = None, size: Any = None, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Integers in [low, high); ``randint(high, size)`` starts at 0."""
    if size is None:
        low, high, size = 0, low, high
    if low >= high:
        raise _core.ValueError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")  # fmt: skip
    return _random("randint.low", [low, high, _sizes((size,))], generator, dtype or _core.int64, device)  # fmt: skip


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:  # fmt: skip
    """A random permutation of 0 … n-1."""
    return _random("randperm.default", [n], generator, dtype or _core.int64, device)


def rand_like(input: Tensor, *, dtype: Any = None) -> Tensor:
    return rand(*input.shape, dtype=dtype or input.dtype)


def randn_like(input: Tensor, *, dtype: Any = None) -> Tensor:
    return randn(*input.shape, dtype=dtype or input.dtype)
