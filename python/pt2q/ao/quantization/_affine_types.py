"""How affine observers map and share parameters: torchao's enumerations and granularities."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class MappingType(enum.Enum):
    """How real values map to integers."""

    SYMMETRIC = enum.auto()
    SYMMETRIC_NO_CLIPPING_ERR = enum.auto()
    ASYMMETRIC = enum.auto()


class ZeroPointDomain(enum.Enum):
    """What a zero point is: an integer step, a real value, or absent."""

    INT = enum.auto()
    FLOAT = enum.auto()
    NONE = enum.auto()


@dataclass(frozen=True)
class Granularity:
    """Which elements of a tensor share a scale."""


@dataclass(frozen=True)
class PerTensor(Granularity):
    """All of them."""


@dataclass(frozen=True)
class PerAxis(Granularity):
    """Those of one index of ``axis``."""

    axis: int


@dataclass(frozen=True)
class PerGroup(Granularity):
    """``group_size`` neighbours in the last dimension."""

    group_size: int


@dataclass(frozen=True)
class PerRow(Granularity):
    """Those along ``dim``."""

    dim: int = -1


@dataclass(frozen=True)
class PerToken(Granularity):
    """Those of the last dimension."""


@dataclass(frozen=True)
class PerBlock(Granularity):
    """Blocks of that shape, counted from the last dimension."""

    block_size: tuple[int, ...]
