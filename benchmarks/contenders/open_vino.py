"""OpenVINO: float32 and NNCF int8, tuned for latency or for throughput."""

from __future__ import annotations

import pathlib
from typing import Any

import openvino

from contenders import Loaded, joined, run_batches
from prepare import load_batches
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
    batches = load_batches(folder)
    facts = {"precision": str(model.get_property("INFERENCE_PRECISION_HINT"))}
    if goal:
        return _throughput(model, batches, size, facts)
    request = model.create_infer_request()

    def run(x: Any) -> Any:
        request.infer(x, share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    return Loaded(run_batches(run, batches), joined, size, len(batches), facts)


def _throughput(model: Any, batches: list[Any], size: int, facts: dict[str, Any]) -> Loaded:
    queue = openvino.AsyncInferQueue(model)
    facts["streams"] = len(queue)
    rounds = max(1, -(-2 * len(queue) // len(batches)))  # so that every stream has work
    answers: list[Any] = [None] * len(batches)

    def keep(request: Any, index: int) -> None:
        answers[index] = request.get_output_tensor(0).data.copy()

    queue.set_callback(keep)

    def call() -> Any:
        for _ in range(rounds):
            for i, x in enumerate(batches):
                queue.start_async(x, i, share_inputs=True)
        queue.wait_all()
        return answers

    return Loaded(call, joined, size, rounds * len(batches), facts)
