"""pt2q models with fixed random weights, shared by the pt2q contenders."""

from __future__ import annotations

import time
from typing import Any

import harness
import pt2q
from pt2q.vision import models


def build(name: str) -> Any:
    """The named model in eval mode, with batch-norm statistics of a typical trained network."""
    pt2q.manual_seed(0)
    model = getattr(models, name)()
    for module in model.modules():
        if isinstance(module, pt2q.nn.BatchNorm2d):
            pt2q.nn.init.uniform_(module.running_var, 0.5, 1.5)
            pt2q.nn.init.normal_(module.running_mean, 0.0, 0.1)
            pt2q.nn.init.uniform_(module.weight, 0.5, 1.0)
    return model.eval()


def export(name: str, batch: int) -> Any:
    x = pt2q.from_numpy(harness.input_batch(batch)).contiguous(memory_format=pt2q.channels_last)
    return pt2q.export.export(build(name), (x,)).module(), x


def quantized(name: str, batch: int) -> tuple[Any, Any, dict[str, Any]]:
    """(converted model, input, seconds of each step)"""
    from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
    from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    exported, x = export(name, batch)
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    steps = {}
    start = time.perf_counter()
    prepared = prepare_pt2e(exported, quantizer)
    steps["prepare_s"] = time.perf_counter() - start
    start = time.perf_counter()
    prepared(x)
    steps["calibrate_s"] = time.perf_counter() - start
    start = time.perf_counter()
    converted = convert_pt2e(prepared)
    steps["convert_s"] = time.perf_counter() - start
    return converted, x, steps


def compiled(module: Any, x: Any, info: dict[str, Any]) -> Any:
    start = time.perf_counter()
    model = pt2q.compile(module)
    model(x[:1])
    info["compile_s"] = time.perf_counter() - start
    info["isa"] = pt2q.cpu_info()["isa"]
    return lambda: model(x).numpy()
