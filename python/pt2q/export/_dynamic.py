"""Dynamic dimensions: what the user declares, and the symbols it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from pt2q import _core

_INFINITY = 2**63 - 1


class _DimHint:
    """Dim.AUTO, Dim.DYNAMIC, Dim.STATIC."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Dim.{self.name}"


class Dim:
    """A dimension whose size may differ from the example's.

    Args:
        name: the same name in several places means the same size.
        min, max: smallest and largest size, both allowed.
    """

    AUTO = _DimHint("AUTO")
    DYNAMIC = _DimHint("DYNAMIC")
    STATIC = _DimHint("STATIC")

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None) -> None:
        if not name.isidentifier():
            raise _core.ValueError(f"Dim name must be a valid identifier, got {name!r}")
        self.__name__ = self.name = name
        self.min = 0 if min is None else int(min)
        self.max = _INFINITY if max is None else int(max)
        if self.min < 0 or self.max < self.min:
            raise _core.ValueError(f"Cannot create Dim '{name}' with inconsistent min={min}, max={max}")

    def __repr__(self) -> str:
        top = "" if self.max == _INFINITY else f", max={self.max}"
        return f"Dim('{self.name}', min={self.min}{top})"


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """Several Dims with the same limits."""
    return tuple(Dim(name, min=min, max=max) for name in names)


@dataclass
class DynamicDim:
    """A constraint of ``capture_pre_autograd_graph``."""

    tensor: Any
    index: int


class ValueRange(NamedTuple):
    """The sizes a dynamic dimension may have."""

    lower: int
    upper: int

    def __repr__(self) -> str:
        return f"VR[{self.lower}, {'int_oo' if self.upper == _INFINITY else self.upper}]"


class Symbols:
    """Gives every dynamic dimension of the inputs a symbol and checks the example against it."""

    def __init__(self, keep_auto: bool = True) -> None:
        self.ranges: dict[str, ValueRange] = {}
        self.has_auto = False
        self._keep_auto = keep_auto
        self._sizes: dict[str, tuple[int, str]] = {}
        self._dims: dict[str, Dim] = {}

    def sizes(self, name: str, shape: tuple[int, ...], spec: Any) -> list[int | str]:
        """Sizes of an input for ``Capture.add_input``: ints, or names of symbols."""
        per_dim = self._per_dim(name, len(shape), spec)
        return [self._size(name, i, size, per_dim[i]) for i, size in enumerate(shape)]

    def _per_dim(self, name: str, rank: int, spec: Any) -> list[Any]:
        if spec is None:
            return [None] * rank
        if isinstance(spec, dict):
            bad = [k for k in spec if not isinstance(k, int) or not -rank <= k < rank]
            if bad:
                raise _core.ValueError(f"dynamic_shapes of input '{name}': {bad[0]!r} is not one of its {rank} dimensions")  # fmt: skip
            found = {k % rank: v for k, v in spec.items()}
            return [found.get(i) for i in range(rank)]
        if isinstance(spec, (list, tuple)):
            if len(spec) != rank:
                raise _core.ValueError(f"dynamic_shapes of input '{name}' has {len(spec)} entries for {rank} dimensions")  # fmt: skip
            return list(spec)
        raise _core.TypeError(f"dynamic_shapes of input '{name}' must be a dict, tuple, list or None, got {type(spec).__name__}")  # fmt: skip

    def _size(self, name: str, index: int, size: int, dim: Any) -> int | str:
        where = f"dimension {index} of input '{name}'"
        if dim is None or dim is Dim.STATIC:
            return size
        if isinstance(dim, int) and not isinstance(dim, bool):
            if dim != size:
                raise _core.ValueError(f"{where} is declared as {dim}, but the example has {size}")
            return size
        if dim is Dim.AUTO or dim is Dim.DYNAMIC:
            self.has_auto = self.has_auto or dim is Dim.AUTO
            if dim is Dim.AUTO and not self._keep_auto:
                return size
            dim = Dim(f"s{len(self._sizes)}")
        if not isinstance(dim, Dim):
            raise _core.TypeError(f"{where}: expected a Dim, an int or None, got {type(dim).__name__}")
        return self._symbol(dim, size, where)

    def _symbol(self, dim: Dim, size: int, where: str) -> str:
        if not dim.min <= size <= dim.max:
            raise _core.ValueError(f"{where} is {size} in the example, outside of {dim!r}")
        known = self._sizes.setdefault(dim.name, (size, where))
        if known[0] != size:
            raise _core.ValueError(
                f"the dimension '{dim.name}' is {known[0]} at {known[1]}, but {size} at {where}"
            )
        first = self._dims.setdefault(dim.name, dim)
        if (first.min, first.max) != (dim.min, dim.max):
            raise _core.ValueError(f"two dimensions are named '{dim.name}' but have different limits")
        self.ranges[dim.name] = ValueRange(dim.min, dim.max)
        return dim.name
