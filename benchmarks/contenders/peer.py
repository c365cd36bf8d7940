"""PyTorch twins of the benchmark models, with the very weights of the pt2q contenders."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import harness
from contenders import ours


def _twin(module: Any) -> nn.Module:
    """A torch module that computes what the pt2q module does: same structure, same weights."""
    import pt2q

    kinds = pt2q.nn
    if isinstance(module, kinds.Conv2d):
        twin: nn.Module = nn.Conv2d(module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding, module.dilation, module.groups, module.bias is not None)  # fmt: skip
    elif isinstance(module, kinds.BatchNorm2d):
        twin = nn.BatchNorm2d(module.num_features, module.eps)
    elif isinstance(module, kinds.Linear):
        twin = nn.Linear(module.in_features, module.out_features, module.bias is not None)
    elif isinstance(module, kinds.ReLU6):
        twin = nn.ReLU6(inplace=True)
    elif isinstance(module, kinds.ReLU):
        twin = nn.ReLU(inplace=True)
    elif isinstance(module, kinds.MaxPool2d):
        twin = nn.MaxPool2d(module.kernel_size, module.stride, module.padding, module.dilation, ceil_mode=module.ceil_mode)  # fmt: skip
    elif isinstance(module, kinds.AdaptiveAvgPool2d):
        twin = nn.AdaptiveAvgPool2d(module.output_size)
    elif isinstance(module, kinds.Dropout):
        twin = nn.Dropout(module.p)
    elif isinstance(module, kinds.Sequential):
        twin = nn.Sequential(*[_twin(child) for child in module])
    else:
        twin = _Forward(module)
    return twin


class _Forward(nn.Module):
    """Runs the pt2q class's own forward() on torch children: the code is PyTorch's dialect."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._source = type(module)
        for name, value in vars(module).items():
            if not name.startswith("_") and name != "training":
                setattr(self, name, value)
        for name, child in module._modules.items():
            setattr(self, name, None if child is None else _twin(child))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        function = self._source.forward
        names = {"pt2q": torch, "F": nn.functional}
        scope = {**function.__globals__, **names}
        return type(function)(function.__code__, scope, function.__name__)(self, x)


def build(name: str, batch: int) -> tuple[nn.Module, torch.Tensor]:
    source = ours.build(name)
    model = _twin(source).eval()
    state = {k: torch.from_numpy(v.numpy().copy()) for k, v in source.state_dict().items()}
    model.load_state_dict(state)
    x = torch.from_numpy(harness.input_batch(batch)).contiguous(memory_format=torch.channels_last)
    return model, x
