"""ONNX Runtime: float32, statically quantized (QDQ), dynamically quantized."""

from __future__ import annotations

import pathlib

import onnxruntime

from contenders import Loaded, joined, run_batches
from prepare import feed_of, load_batches
from workloads import Case


def load(variant: str, case: Case, folder: pathlib.Path, threads: int) -> Loaded:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    file = folder / f"{variant}.onnx"
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    feeds = [feed_of(batch) for batch in load_batches(folder)]
    call = run_batches(lambda feed: session.run(None, feed)[0], feeds)
    return Loaded(call, joined, file.stat().st_size, len(feeds))
