"""The base class of all models: PyTorch's ``nn.Module`` without autograd."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

import pt2q
from pt2q import Tensor, _pytree, _trace
from pt2q.nn.modules._state import IncompatibleKeys, load_state
from pt2q.nn.parameter import Parameter

T = TypeVar("T", bound="Module")


class RemovableHandle:
    """Undoes a hook registration."""

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        self._hooks.pop(self._key, None)


def _is_module(value: Any) -> bool:
    """Observers are C++ objects that behave as modules."""
    return isinstance(value, (Module, pt2q._core._Observer))


# What modules pass to each other, and arguments beside it: neither an array nor a container of some.
_NO_ARRAYS = {Tensor, Parameter, pt2q.QuantizedTensor, type(None), bool, int, float, str}


def _has_arrays(values: Iterable[Any]) -> bool:
    """Whether a NumPy array is among the leaves of some arguments."""
    for value in values:
        if type(value) not in _NO_ARRAYS and any(
            isinstance(leaf, np.ndarray) for leaf in _pytree.flatten(value)[0]
        ):
            return True
    return False


def _to_tensor(value: Any) -> Any:
    return pt2q.from_numpy(value) if isinstance(value, np.ndarray) else value


def _to_array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value


class Module:
    """Base class for models; sub-modules, parameters and buffers are found by assignment."""

    training: bool

    def __init__(self) -> None:
        values = {
            "training": True,
            "_parameters": OrderedDict(),
            "_buffers": OrderedDict(),
            "_modules": OrderedDict(),
            "_non_persistent": set(),
            "_forward_hooks": OrderedDict(),
            "_forward_pre_hooks": OrderedDict(),
            "_hook_counter": 0,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tracer = _trace.current()
        if tracer is None:
            # NumPy in, NumPy out; modules inside see tensors only.
            if not _has_arrays(args) and not _has_arrays(kwargs.values()):
                return self._run(args, kwargs)
            args, kwargs = _pytree.tree_map(_to_tensor, (args, kwargs))
            return _pytree.tree_map(_to_array, self._run(args, kwargs))
        tracer.push_module(self)
        try:
            return self._run(args, kwargs)
        finally:
            tracer.pop_module()

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in list(self._forward_pre_hooks.values()):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        for hook in list(self._forward_hooks.values()):
            changed = hook(self, args, result)
            if changed is not None:
                result = changed
        return result

    # --- registration -----------------------------------------------------------------------

    def _check_name(self, name: str, own: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                f"cannot assign '{name}' before Module.__init__() call: "
                f"call super().__init__() first in {type(self).__name__}.__init__"
            )
        if "." in name:
            raise KeyError(f'the name "{name}" must not contain "."')
        if name == "":
            raise KeyError('the name must not be the empty string ""')
        for store in ("_parameters", "_buffers", "_modules"):
            if store != own:
                self.__dict__[store].pop(name, None)
        self.__dict__.pop(name, None)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(pt2q.nn.Parameter or None required)"
            )
        self._check_name(name, "_parameters")
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(pt2q.Tensor or None required)"
            )
        self._check_name(name, "_buffers")
        self._buffers[name] = tensor
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        if module is not None and not _is_module(module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name(name, "_modules")
        self._modules[name] = module

    register_module = add_module

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif _is_module(value):
            self.add_module(name, value)
        elif name in state.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                    "(pt2q.nn.Parameter or None expected)"
                )
            state["_parameters"][name] = None
        elif name in state.get("_modules", ()) and value is None:
            state["_modules"][name] = None
        elif name in state.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as buffer '{name}' "
                    "(pt2q.Tensor or None expected)"
                )
            state["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for store in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(store)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for store in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__[store]:
                del self.__dict__[store][name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = [n for s in ("_parameters", "_buffers", "_modules") for n in self.__dict__[s]]
        return sorted({*super().__dir__(), *names})

    # --- traversal --------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        memo = set() if memo is None else memo
        if remove_duplicate and id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        for _, module in self.named_modules():
            yield module

    def _named(
        self, store: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix) if recurse else iter([(prefix, self)])
        for path, module in modules:
            for name, value in getattr(module, store).items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        yield from self._named("_parameters", prefix, recurse, remove_duplicate)  # type: ignore[misc]

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        yield from self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def non_persistent_buffer_names(self) -> set[str]:
        """Dotted names of the buffers that are not part of ``state_dict``."""
        return {
            f"{path}.{name}" if path else name
            for path, module in self.named_modules()
            for name in module._non_persistent
        }

    def get_submodule(self, target: str) -> Module:
        module: Module = self
        for part in target.split(".") if target else []:
            child = module._modules.get(part)
            if child is None:
                raise AttributeError(f"{type(module).__name__} has no attribute `{part}`")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._parameters.get(name) is None:
            raise AttributeError(f"`{name}` is not an nn.Parameter of {type(module).__name__}")
        return module._parameters[name]

    def apply(self: T, fn: Callable[[Module], None]) -> T:
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # --- state ------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        del keep_vars  # there is no autograd to detach from
        state: OrderedDict[str, Tensor] = OrderedDict()
        for name, param in self._parameters.items():
            if param is not None:
                state[prefix + name] = param
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent:
                state[prefix + name] = buffer
        for name, module in self._modules.items():
            if module is not None:
                state.update(module.state_dict(prefix=f"{prefix}{name}."))
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copies values into this module's parameters and buffers; nothing changes on error."""
        return load_state(self, state_dict, strict, assign)

    def _convert(self: T, change: Callable[[Tensor], Tensor]) -> T:
        for module in self.modules():
            for name, param in module._parameters.items():
                if param is not None:
                    changed = change(param)
                    if changed is not param:
                        module._parameters[name] = Parameter(changed, param.requires_grad)
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = change(buffer)
        return self

    def to(self: T, *args: Any, **kwargs: Any) -> T:
        """Moves to a device and/or converts floating-point tensors to a dtype."""
        target = args[0] if args else kwargs.get("device", kwargs.get("dtype"))
        if isinstance(target, Tensor):
            target = target.dtype
        dtype = kwargs.get("dtype", target if isinstance(target, pt2q.dtype) else None)
        device = kwargs.get("device", target if isinstance(target, (str, pt2q.device)) else None)
        if len(args) > 1 and isinstance(args[1], pt2q.dtype):
            dtype = args[1]
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"nn.Module.to only accepts floating point dtypes, but got {dtype}")

        def change(tensor: Tensor) -> Tensor:
            if dtype is not None and tensor.is_floating_point() and tensor.dtype != dtype:
                tensor = tensor.to(dtype)
            if device is not None and tensor.device != pt2q.device(device):
                tensor = tensor.to(device)
            return tensor

        return self._convert(change)

    def cpu(self: T) -> T:
        return self.to("cpu")

    def xpu(self: T, device: Any = None) -> T:
        return self.to(device or "xpu")

    def float(self: T) -> T:
        return self.to(pt2q.float32)

    def double(self: T) -> T:
        return self.to(pt2q.float64)

    def half(self: T) -> T:
        return self.to(pt2q.float16)

    def bfloat16(self: T) -> T:
        return self.to(pt2q.bfloat16)

    def train(self: T, mode: bool = True) -> T:
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: T) -> T:
        return self.train(False)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        for param in self.parameters():
            param.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Nothing to do: there are no gradients."""

    # --- hooks ------------------------------------------------------------------------------

    def _add_hook(self, hooks: dict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
        object.__setattr__(self, "_hook_counter", self._hook_counter + 1)
        hooks[self._hook_counter] = hook
        return RemovableHandle(hooks, self._hook_counter)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        return self._add_hook(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        return self._add_hook(self._forward_pre_hooks, hook)

    # --- printing ---------------------------------------------------------------------------

    def extra_repr(self) -> str:
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = []
        for name, module in self._modules.items():
            text = repr(module).replace("\n", "\n  ")
            lines.append(f"({name}): {text}")
        if not lines:
            return f"{self._get_name()}({extra})"
        head = [extra] if extra else []
        return f"{self._get_name()}(\n  " + "\n  ".join(head + lines) + "\n)"
