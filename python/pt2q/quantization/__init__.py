"""``torch.quantization``: eager mode and TorchScript mode."""

from __future__ import annotations

from pt2q.ao.quantization.fake_quantize import *  # noqa: F403
from pt2q.ao.quantization.fuse_modules import fuse_modules as fuse_modules
from pt2q.ao.quantization.fuse_modules import fuse_modules_qat as fuse_modules_qat
from pt2q.ao.quantization.observer import *  # noqa: F403
from pt2q.ao.quantization.qconfig import *  # noqa: F403
from pt2q.ao.quantization.quantization_mappings import *  # noqa: F403
from pt2q.ao.quantization.quantize import add_observer_ as add_observer_
from pt2q.ao.quantization.quantize import add_quant_dequant as add_quant_dequant
from pt2q.ao.quantization.quantize import convert as convert
from pt2q.ao.quantization.quantize import prepare as prepare
from pt2q.ao.quantization.quantize import prepare_qat as prepare_qat
from pt2q.ao.quantization.quantize import propagate_qconfig_ as propagate_qconfig_
from pt2q.ao.quantization.quantize import quantize as quantize
from pt2q.ao.quantization.quantize import quantize_dynamic as quantize_dynamic
from pt2q.ao.quantization.quantize import quantize_qat as quantize_qat
from pt2q.ao.quantization.quantize import swap_module as swap_module
from pt2q.ao.quantization.stubs import DeQuantStub as DeQuantStub
from pt2q.ao.quantization.stubs import QuantStub as QuantStub
from pt2q.ao.quantization.stubs import QuantWrapper as QuantWrapper
from pt2q.quantization import fake_quantize as fake_quantize
from pt2q.quantization import observer as observer
from pt2q.quantization import qconfig as qconfig
from pt2q.quantization import stubs as stubs
from pt2q.quantization.quantize_jit import *  # noqa: F403
