"""Names of a package that are loaded when first used, so that importing the package stays light."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any


def names(
    namespace: dict[str, Any],
    *,
    packages: Collection[str] = (),
    members: Mapping[str, str] | None = None,
    modules: Sequence[str] = (),
    functions: Collection[str] = (),
    otherwise: Callable[[str], Any] = lambda name: None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        namespace: the package's ``globals()``; what is found is kept there.
        packages: modules in the package.
        members: name to the module that defines it.
        modules: modules whose whole ``__all__`` belongs to the package, asked in this order. They make
            ``from package import *`` complete too.
        functions: those of ``modules`` whose name a module of the package has too. As in PyTorch the name
            means the function, also after that module was imported and Python bound it in the package.
        otherwise: called for any other name; None says that there is none.
    """
    package, members = namespace["__name__"], members or {}

    def of_modules(name: str) -> Any:
        if name == "__all__" and modules:
            return [n for n in directory() if not n.startswith("_")]
        if name.startswith("__"):  # what Python and its tools ask every module for
            return None
        for path in modules:
            module = importlib.import_module(path)
            if name in module.__all__:
                return getattr(module, name)
        return None

    def attribute(name: str) -> Any:
        if name in packages:
            return importlib.import_module(f"{package}.{name}")
        if name in members:
            value = getattr(importlib.import_module(members[name]), name)
        else:
            value = of_modules(name)
            if value is None:
                value = otherwise(name)
            if value is None:
                raise AttributeError(f"module '{package}' has no attribute '{name}'")
        namespace[name] = value
        return value

    def directory() -> list[str]:
        own = {*namespace, *packages, *members}
        return sorted(own.union(*(importlib.import_module(path).__all__ for path in modules)))

    if functions:
        sys.modules[package].__class__ = _preferring(functions)
    return attribute, directory


def _preferring(functions: Collection[str]) -> type[types.ModuleType]:
    class Package(types.ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            if name in functions and isinstance(value, types.ModuleType):
                value = getattr(value, name)
            super().__setattr__(name, value)

    return Package
