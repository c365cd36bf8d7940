"""What the benchmarks compare. Each module loads one library's contenders: ``load(variant, case, folder, threads)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Spec(NamedTuple):
    """A contender: the module of this package that loads it, what to load, and the artifact it needs."""

    module: str
    variant: str
    artifact: str
    kind: str = "int8"  # "float32", "int8", "bf16" (int8 mixed with bfloat16) or "calibrate"

    @property
    def ours(self) -> bool:
        return self.module == "ours"


class Loaded(NamedTuple):
    """A contender ready to run."""

    call: Callable[[], Any]  # runs ``items`` batches
    output: Callable[[Any], np.ndarray]  # the answer, from what call() returned
    bytes: int = 0  # size of its files
    items: int = 1
    facts: dict[str, Any] = {}
    steps: Callable[[int], list[dict[str, Any]]] | None = None  # ours: seconds of each step, see roofline.py


def run_batches(run: Callable[[Any], Any], batches: list[Any]) -> Callable[[], list[Any]]:
    """A call that runs one batch after another and gives their answers."""
    return lambda: [run(batch) for batch in batches]


def joined(answers: list[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(y) for y in answers])


CONTENDERS = {
    "pt2q_float32": Spec("ours", "float32", "pt2q_float32", "float32"),
    "pt2q_int8": Spec("ours", "int8", "pt2q_int8"),
    "pt2q_int8_bf16": Spec("ours", "int8_bf16", "pt2q_int8", "bf16"),
    "pt2q_int8_attention": Spec("ours", "int8_attention", "pt2q_int8_attention"),
    "pt2q_int8_throughput": Spec("ours", "int8_throughput", "pt2q_int8"),
    "pt2q_int8_attention_throughput": Spec("ours", "int8_attention_throughput", "pt2q_int8_attention"),
    "torch_eager": Spec("pytorch", "eager", "torch_float32", "float32"),
    "torch_float32": Spec("pytorch", "float32", "torch_float32", "float32"),
    "torch_int8": Spec("pytorch", "int8", "torch_int8"),
    "torch_int8_bf16": Spec("pytorch", "int8_bf16", "torch_int8", "bf16"),
    "ort_float32": Spec("onnx_runtime", "onnx", "onnx", "float32"),
    "ort_qdq": Spec("onnx_runtime", "onnx_qdq", "onnx_qdq"),
    "ort_dynamic": Spec("onnx_runtime", "onnx_dynamic", "onnx_dynamic"),
    "ov_float32": Spec("open_vino", "float32", "openvino_float32", "float32"),
    "ov_float32_throughput": Spec("open_vino", "float32_throughput", "openvino_float32", "float32"),
    "ov_int8": Spec("open_vino", "int8", "openvino_int8"),
    "ov_int8_throughput": Spec("open_vino", "int8_throughput", "openvino_int8"),
    "pt2q_calibrate": Spec("ours", "calibrate", "base", "calibrate"),
    "torch_calibrate": Spec("pytorch", "calibrate", "base", "calibrate"),
}
