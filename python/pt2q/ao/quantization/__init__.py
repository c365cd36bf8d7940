"""Quantization under PyTorch's names (``torch.ao.quantization``)."""

from __future__ import annotations

from pt2q.ao.quantization import fake_quantize as fake_quantize
from pt2q.ao.quantization import observer as observer
from pt2q.ao.quantization.fake_quantize import *  # noqa: F403
from pt2q.ao.quantization.observer import *  # noqa: F403
from pt2q.ao.quantization.pt2e.export_utils import (
    allow_exported_model_train_eval as allow_exported_model_train_eval,
)
from pt2q.ao.quantization.pt2e.export_utils import (
    move_exported_model_to_eval as move_exported_model_to_eval,
)
from pt2q.ao.quantization.pt2e.export_utils import (
    move_exported_model_to_train as move_exported_model_to_train,
)
