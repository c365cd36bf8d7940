"""Lowering of converted models, at torchao's path."""

from __future__ import annotations

from typing import Any

__all__ = ["lower_pt2e_quantized_to_x86"]


def lower_pt2e_quantized_to_x86(model: Any, example_inputs: tuple[Any, ...]) -> Any:
    """Lower what ``convert_pt2e`` returned to the int8 kernels of this machine: ``pt2q.compile``.

    ``example_inputs`` are run once, so that the plan for their shapes is ready.
    """
    from pt2q._compile import compile  # here, because pt2q imports this package first

    lowered = compile(model)
    lowered(*example_inputs)
    return lowered
