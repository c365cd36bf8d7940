"""PyTorch: eager, torch.compile with freezing (float32, X86Inductor int8, int8 mixed with bfloat16), torchao calibration."""

from __future__ import annotations

import atexit
import os
import pathlib
import shutil
import tempfile
from typing import Any

# A cache of its own, so that the first call shows what compilation costs.
os.environ["TORCHINDUCTOR_FREEZING"] = "1"
os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="pt2q-bench-")
atexit.register(shutil.rmtree, os.environ["TORCHINDUCTOR_CACHE_DIR"], True)

import torch  # noqa: E402

from contenders import Loaded, joined, run_batches  # noqa: E402
from prepare import load_batches, torch_batch, torch_prepared  # noqa: E402
from workloads import Case  # noqa: E402


def _array(y: Any) -> Any:
    y = y[0] if isinstance(y, (tuple, list)) else y
    return y.float().numpy()


def load(variant: str, case: Case, folder: pathlib.Path, threads: int) -> Loaded:
    torch.set_num_threads(threads)
    batches = [torch_batch(batch) for batch in load_batches(folder)]
    mixed = variant == "int8_bf16"
    size = 0
    if variant == "calibrate":
        model = torch_prepared(case, folder)
    else:
        if mixed or variant == "int8":
            import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401  registers operators
        file = folder / ("torch_int8.pt2" if variant.startswith("int8") else "torch_float32.pt2")
        size = file.stat().st_size
        model = torch.export.load(file).module()
        if variant != "eager":
            model = torch.compile(model)

    run = run_batches(lambda batch: model(*batch), batches)

    def call() -> Any:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            return run()

    return Loaded(call, lambda answers: joined([_array(y) for y in answers]), size, len(batches))
