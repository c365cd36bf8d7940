"""ONNX Runtime: float32, statically quantized (QDQ), dynamically quantized."""

from __future__ import annotations

import pathlib
from typing import Any

import onnxruntime

from contenders import Loaded
from prepare import load_inputs
from workloads import Case


def load(variant: str, case: Case, folder: pathlib.Path, threads: int) -> Loaded:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    file = folder / f"{variant}.onnx"
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    feed = {f"x{i}": a for i, a in enumerate(load_inputs(folder))}

    def call() -> Any:
        return session.run(None, feed)

    return Loaded(call, lambda y: y[0], file.stat().st_size)
