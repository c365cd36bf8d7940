"""Fused float modules that ``fuse_modules`` makes; each is a Sequential of its parts."""

from __future__ import annotations

from pt2q.nn import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Conv1d,
    Conv2d,
    Conv3d,
    Linear,
    Module,
    ReLU,
    Sequential,
)

__all__ = [
    "BNReLU2d",
    "BNReLU3d",
    "ConvBn1d",
    "ConvBn2d",
    "ConvBn3d",
    "ConvBnReLU1d",
    "ConvBnReLU2d",
    "ConvBnReLU3d",
    "ConvReLU1d",
    "ConvReLU2d",
    "ConvReLU3d",
    "LinearBn1d",
    "LinearReLU",
    "_FusedModule",
]


class _ObservedAsOne:
    """Modules whose parts are not observed and converted on their own."""


class _FusedModule(Sequential, _ObservedAsOne):
    """A chain that is observed and converted as one module."""

    _parts: tuple[type[Module], ...] = ()

    def __init__(self, *parts: Module) -> None:
        if tuple(type(p) for p in parts) != self._parts:
            wanted = ", ".join(t.__name__ for t in self._parts)
            got = ", ".join(type(p).__name__ for p in parts)
            raise AssertionError(f"Incorrect types for input modules {got}: expected {wanted}")
        super().__init__(*parts)


class ConvReLU1d(_FusedModule):
    _parts = (Conv1d, ReLU)


class ConvReLU2d(_FusedModule):
    _parts = (Conv2d, ReLU)


class ConvReLU3d(_FusedModule):
    _parts = (Conv3d, ReLU)


class LinearReLU(_FusedModule):
    _parts = (Linear, ReLU)


class BNReLU2d(_FusedModule):
    _parts = (BatchNorm2d, ReLU)


class BNReLU3d(_FusedModule):
    _parts = (BatchNorm3d, ReLU)


class LinearBn1d(_FusedModule):
    _parts = (Linear, BatchNorm1d)


class ConvBn1d(_FusedModule):
    _parts = (Conv1d, BatchNorm1d)


class ConvBn2d(_FusedModule):
    _parts = (Conv2d, BatchNorm2d)


class ConvBn3d(_FusedModule):
    _parts = (Conv3d, BatchNorm3d)


class ConvBnReLU1d(_FusedModule):
    _parts = (Conv1d, BatchNorm1d, ReLU)


class ConvBnReLU2d(_FusedModule):
    _parts = (Conv2d, BatchNorm2d, ReLU)


class ConvBnReLU3d(_FusedModule):
    _parts = (Conv3d, BatchNorm3d, ReLU)
