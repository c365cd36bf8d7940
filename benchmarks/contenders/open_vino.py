"""OpenVINO: float32 and NNCF int8, tuned for latency or for throughput."""

from __future__ import annotations

import pathlib
from typing import Any

import openvino

from contenders import Loaded
from prepare import load_inputs
from workloads import Case


def load(variant: str, case: Case, folder: pathlib.Path, threads: int) -> Loaded:
    precision, _, goal = variant.partition("_")
    config: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "THROUGHPUT" if goal else "LATENCY",
    }
    if precision == "float32":
        config["INFERENCE_PRECISION_HINT"] = "f32"  # else bfloat16 where the CPU has it
    file = folder / f"openvino_{precision}.xml"
    model = openvino.Core().compile_model(str(file), "CPU", config)
    size = file.stat().st_size + file.with_suffix(".bin").stat().st_size
    x = load_inputs(folder)
    facts = {"precision": str(model.get_property("INFERENCE_PRECISION_HINT"))}
    if goal:
        queue = openvino.AsyncInferQueue(model)
        facts["streams"] = len(queue)

        def call_all() -> Any:
            for _ in range(2 * len(queue)):
                queue.start_async(x, share_inputs=True)
            queue.wait_all()
            return queue

        return Loaded(call_all, lambda q: q[0].get_output_tensor(0).data.copy(), size, 2 * len(queue), facts)  # fmt: skip
    request = model.create_infer_request()

    def call() -> Any:
        request.infer(x, share_inputs=True)
        return request

    return Loaded(call, lambda r: r.get_output_tensor(0).data.copy(), size, facts=facts)
