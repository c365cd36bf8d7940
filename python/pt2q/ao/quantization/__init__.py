"""Quantization under PyTorch's names (``torch.ao.quantization``)."""

from __future__ import annotations

from pt2q.ao.quantization import fake_quantize as fake_quantize
from pt2q.ao.quantization import observer as observer
from pt2q.ao.quantization.fake_quantize import *  # noqa: F403
from pt2q.ao.quantization.fuse_modules import fuse_modules as fuse_modules
from pt2q.ao.quantization.fuse_modules import fuse_modules_qat as fuse_modules_qat
from pt2q.ao.quantization.observer import *  # noqa: F403
from pt2q.ao.quantization.pt2e import *  # noqa: F403
from pt2q.ao.quantization.qconfig import *  # noqa: F403
from pt2q.ao.quantization.quantization_mappings import *  # noqa: F403
from pt2q.ao.quantization.quantize import *  # noqa: F403
from pt2q.ao.quantization.stubs import *  # noqa: F403
