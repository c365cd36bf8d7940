"""PyTorch's methods on ``pt2q.Tensor``.

Every operator ``aten.<name>`` whose first argument is a tensor is a method; its overload is chosen
from the arguments. Only what PyTorch spells differently from the operator's schema is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pt2q import _core
from pt2q._core import Tensor
from pt2q._ops import unsupported

_call = _core.call_packet


# --- generic methods ------------------------------------------------------------------------------


def _make_method(name: str) -> Callable[..., Any]:
    packet = f"aten.{name}"

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return _call(packet, self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = "\n".join(_core.packet_schemas(packet))
    return method


def _getattr(self: Tensor, name: str) -> Any:
    if name.startswith("__") or not _core.has_packet(f"aten.{name}"):
        if name.startswith("_"):
            raise AttributeError(f"'Tensor' object has no attribute '{name}'")
        raise unsupported(
            f"'Tensor' object has no attribute '{name}' (there is no operator aten.{name})",
            f"aten.{name}",
        )
    setattr(Tensor, name, _make_method(name))
    return getattr(self, name)


def _dir(self: Tensor) -> list[str]:
    names = {n.split(".")[1] for n in _core.op_names() if n.startswith("aten.")}
    return sorted({*object.__dir__(self), *names})


# --- operators ------------------------------------------------------------------------------------

_NUMBERS = (int, float, _core.SymInt)


def _is_operand(value: Any) -> bool:
    return isinstance(value, (Tensor, *_NUMBERS)) or (
        hasattr(value, "__array_interface__") or hasattr(value, "__array__")
    )


def _binary(packet: str) -> Callable[[Tensor, Any], Any]:
    def operator(self: Tensor, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        return _call(f"aten.{packet}", self, other)

    return operator


def _reflected(packet: str) -> Callable[[Tensor, Any], Any]:
    """other <op> self, for operators that do not commute."""

    def operator(self: Tensor, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        if isinstance(other, _NUMBERS):
            if packet == "sub" and _core.has_packet("aten.rsub"):
                return _call("aten.rsub", self, other)
            if packet == "div":
                return self.reciprocal() * other
            if packet == "pow":
                return _core.call("aten.pow.Scalar", other, self)
            other = _core._tensor(other).to(self.dtype)
        return _call(f"aten.{packet}", _as_tensor(other), self)

    return operator


def _as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else _core.from_numpy(value)


def _inplace(packet: str) -> Callable[[Tensor, Any], Any]:
    def operator(self: Tensor, other: Any) -> Any:
        if not _is_operand(other):
            return NotImplemented
        _call(f"aten.{packet}_", self, other)
        return self

    return operator


_SYMMETRIC = {"add": "add", "mul": "mul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}
_ORDERED = {
    "sub": "sub",
    "truediv": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
_COMPARISONS = {n: n for n in ("eq", "ne", "lt", "le", "gt", "ge")}
_INPLACE = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div"}


def _install_operators() -> None:
    for name, packet in {**_SYMMETRIC, **_ORDERED, **_COMPARISONS}.items():
        setattr(Tensor, f"__{name}__", _binary(packet))
    for name, packet in _SYMMETRIC.items():
        setattr(Tensor, f"__r{name}__", _binary(packet))
    for name, packet in _ORDERED.items():
        setattr(Tensor, f"__r{name}__", _reflected(packet))
    for name, packet in _INPLACE.items():
        setattr(Tensor, f"__i{name}__", _inplace(packet))
    for name, packet in {"neg": "neg", "abs": "abs", "invert": "bitwise_not"}.items():
        setattr(Tensor, f"__{name}__", _make_method(packet))
    plain: dict[str, Callable[[Any], Any]] = {
        "__pos__": lambda self: self,
        "__hash__": lambda self: self._id(),
    }
    for name, method in plain.items():
        setattr(Tensor, name, method)


# --- Python's protocols ---------------------------------------------------------------------------


def _number(self: Tensor, kind: Callable[[Any], Any], what: str) -> Any:
    self._require_values(what)
    if self.numel() != 1:
        raise _core.ValueError(
            f"only one element tensors can be converted to Python scalars, got shape {list(self.shape)}"
        )
    return kind(self.item())


def _bool(self: Tensor) -> bool:
    self._require_values("bool(tensor)")
    if self.numel() != 1:
        raise _core.RuntimeError(
            "Boolean value of Tensor with more than one value is ambiguous"
            if self.numel() > 1
            else "Boolean value of Tensor with no values is ambiguous"
        )
    return bool(self.item())


def _index(self: Tensor) -> int:
    self._require_values("use as an index")
    if self.numel() != 1 or self.dtype.is_floating_point:
        raise _core.TypeError("only integer tensors of a single element can be converted to an index")
    return int(self.item())


def _len(self: Tensor) -> int:
    if self.dim() == 0:
        raise _core.TypeError("len() of a 0-d tensor")
    return self.shape[0]


def _iter(self: Tensor) -> Iterator[Tensor]:
    if self.dim() == 0:
        raise _core.TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


def _contains(self: Tensor, value: Any) -> bool:
    return bool((self == value).any())


def _format(self: Tensor, spec: str) -> str:
    if self.dim() == 0 and not self._is_traced():
        return format(self.item(), spec)
    if spec:
        raise _core.TypeError("unsupported format string passed to Tensor.__format__")
    return repr(self)


def _repr(self: Tensor) -> str:
    from pt2q._tensor_str import tensor_str

    return tensor_str(self)


def _rebuild(cls: type, dtype: Any, shape: tuple[int, ...], stride: tuple[int, ...], data: bytes) -> Tensor:
    tensor = _core._from_bytes(data, list(shape), list(stride), dtype)
    return tensor if cls is Tensor else cls(tensor)


def _reduce(self: Tensor, protocol: int) -> tuple[Any, ...]:
    del protocol
    self._require_values("pickling")
    dense = self.clone()
    return _rebuild, (type(self), self.dtype, tuple(self.shape), dense.stride(), dense._to_bytes())


def _deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    copy = self.clone()
    memo[id(self)] = copy
    return copy


# --- conversions ----------------------------------------------------------------------------------


def _to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """To a dtype, a device, or both of another tensor; the tensor itself when nothing changes."""
    dtype = kwargs.pop("dtype", None)
    device = kwargs.pop("device", None)
    memory_format = kwargs.pop("memory_format", None)
    copy = kwargs.pop("copy", False)
    kwargs.pop("non_blocking", None)
    if kwargs:
        raise _core.TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (str, _core.device)):
            device = arg
        elif isinstance(arg, bool):
            pass  # non_blocking
        elif arg is not None:
            dtype = arg
    result = self
    if dtype is not None and (self.dtype is not dtype or copy):
        result = _core.call("aten.to.dtype", result, dtype, False, copy)
    if device is not None and _core.device(device) != self.device:
        result = _core.call("aten.to.device", result, _core.device(device), result.dtype)
    if memory_format is not None:
        result = result.contiguous(memory_format=memory_format)
    return result.clone() if copy and result is self else result


def _dtype_method(name: str, dtype: Any) -> Callable[[Tensor], Tensor]:
    def method(self: Tensor) -> Tensor:
        return _to(self, dtype)

    method.__name__ = method.__qualname__ = name
    return method


def _type(self: Tensor, dtype: Any = None) -> Any:
    if dtype is None:
        return f"pt2q.{self.dtype._name.capitalize()}Tensor"
    return _to(self, dtype)


def _contiguous(self: Tensor, *, memory_format: Any = _core.contiguous_format) -> Tensor:
    if not self._is_traced() and self.is_contiguous(memory_format=memory_format):
        return self
    return _core.call("aten.contiguous.default", self, memory_format=memory_format)


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of the given size, or of the given sizes, along ``dim``."""
    sizes = split_size_or_sections
    name = "split_with_sizes" if isinstance(sizes, (list, tuple)) else "split"
    return _call(f"aten.{name}", tensor, list(sizes) if name != "split" else sizes, dim)


def _no_cuda(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    raise _core.NotImplementedError("pt2q runs on 'cpu' and 'xpu'; there is no CUDA device")


def _new_tensor(self: Tensor, data: Any, dtype: Any = None) -> Tensor:
    return _core._tensor(data, dtype or self.dtype)


def _requires_grad(self: Tensor) -> bool:
    return getattr(self, "_requires_grad", False)


def _set_requires_grad(self: Any, value: bool) -> None:
    if type(self) is not Tensor:  # parameters remember it; there is no autograd
        self._requires_grad = bool(value)


def _requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    self.requires_grad = requires_grad
    return self


# --- random values in place -----------------------------------------------------------------------


def _uniform_(self: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    return self.copy_(_core.call("aten.rand.default", list(self.shape)) * (b - a) + a)


def _normal_(self: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return self.copy_(_core.call("aten.randn.default", list(self.shape)) * std + mean)


# --- installation ---------------------------------------------------------------------------------

_METHODS: dict[str, Any] = {
    "__getattr__": _getattr,
    "__dir__": _dir,
    "__bool__": _bool,
    "__int__": lambda self: _number(self, int, "int(tensor)"),
    "__float__": lambda self: _number(self, float, "float(tensor)"),
    "__complex__": lambda self: _number(self, complex, "complex(tensor)"),
    "__index__": _index,
    "__len__": _len,
    "__iter__": _iter,
    "__contains__": _contains,
    "__format__": _format,
    "__repr__": _repr,
    "__reduce_ex__": _reduce,
    "__copy__": lambda self: self,
    "__deepcopy__": _deepcopy,
    "to": _to,
    "type": _type,
    "contiguous": _contiguous,
    "split": lambda self, split_size, dim=0: split(self, split_size, dim),
    "cpu": lambda self: _to(self, "cpu"),
    "cuda": _no_cuda,
    "xpu": lambda self, device=None, non_blocking=False: _to(self, device or "xpu"),
    "new_tensor": _new_tensor,
    "requires_grad_": _requires_grad_,
    "uniform_": _uniform_,
    "normal_": _normal_,
    "is_pinned": lambda self: False,
    "pin_memory": lambda self: self,
    "get_device": lambda self: -1 if self.device.type == "cpu" else max(self.device.index or 0, 0),
}

_DTYPES = {
    "float": _core.float32,
    "double": _core.float64,
    "half": _core.float16,
    "bfloat16": _core.bfloat16,
    "int": _core.int32,
    "long": _core.int64,
    "short": _core.int16,
    "char": _core.int8,
    "byte": _core.uint8,
    "bool": _core.bool,
}

_PROPERTIES: dict[str, Any] = {
    "requires_grad": property(_requires_grad, _set_requires_grad),
    "data": property(lambda self: self),
    "grad": property(lambda self: None),
    "grad_fn": property(lambda self: None),
    "is_leaf": property(lambda self: True),
    "is_cuda": property(lambda self: False),
    "is_cpu": property(lambda self: self.device.type == "cpu"),
    "is_xpu": property(lambda self: self.device.type == "xpu"),
    "is_quantized": property(lambda self: False),
    "is_sparse": property(lambda self: False),
    "T": property(lambda self: _call("aten.numpy_T", self)),
    "mT": property(lambda self: _call("aten.mT", self)),
    "H": property(lambda self: _call("aten.numpy_T", self)),
}


def _install() -> None:
    _install_operators()
    for name, method in {**_METHODS, **_PROPERTIES}.items():
        setattr(Tensor, name, method)
    for name, dtype in _DTYPES.items():
        setattr(Tensor, name, _dtype_method(name, dtype))
    Tensor.__module__ = "pt2q"


_install()
