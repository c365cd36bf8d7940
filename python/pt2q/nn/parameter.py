"""Parameters: tensors that a Module registers when they are assigned as attributes."""

from __future__ import annotations

from typing import Any

from pt2q import Tensor


class Parameter(Tensor):
    """A tensor that is a parameter of the module it is assigned to.

    Shares memory with ``data``. There is no autograd: ``requires_grad`` is only remembered.
    """

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data)
        self.requires_grad = requires_grad

    @property
    def data(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        copy = Parameter(self.clone(), self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
