"""Weights of the model builders: given as a file or state dict, never downloaded."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from typing import Any

import pt2q
from pt2q.nn import Module


class Weights(enum.Enum):
    """Base of the ``ResNet18_Weights`` enums; the value is the file name torchvision uses."""

    @property
    def file_name(self) -> str:
        return str(self.value)


def find_weights(file_name: str) -> str:
    """The path of a weight file in ``$PT2Q_HOME`` or PyTorch's checkpoint folder."""
    home = os.environ.get("TORCH_HOME", os.path.join(os.path.expanduser("~"), ".cache", "torch"))
    folders = [os.environ.get("PT2Q_HOME", ""), os.path.join(home, "hub", "checkpoints")]
    for folder in filter(None, folders):
        path = os.path.join(folder, file_name)
        if os.path.exists(path):
            return path
    raise FileNotFoundError(
        f"pretrained weights '{file_name}' were not found in {' or '.join(filter(None, folders))}. "
        "pt2q downloads nothing: put the file there, or pass weights=<path or state dict>."
    )


def load_weights(model: Module, weights: Any, pretrained: bool | None, file_name: str) -> Module:
    """Fills ``model`` from ``weights`` (path, state dict, Weights member, "DEFAULT") if given."""
    if weights is None:
        if not pretrained:
            return model
        weights = file_name
        weights = find_weights(weights)
    elif isinstance(weights, Weights):
        weights = find_weights(weights.file_name)
    elif weights in ("DEFAULT", "IMAGENET1K_V1") if isinstance(weights, str) else False:
        weights = find_weights(file_name)
    if isinstance(weights, (str, os.PathLike)):
        weights = pt2q.load(weights)
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"weights must be a path, a state dict or a Weights member, got {type(weights).__name__}"
        )
    model.load_state_dict(weights)
    return model
