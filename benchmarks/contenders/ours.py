"""pt2q: NumPy in, NumPy out; models loaded from .pt2 files and compiled."""

from __future__ import annotations

import concurrent.futures
import contextlib
import pathlib
import time
from contextlib import AbstractContextManager
from typing import Any

import pt2q
import roofline
from contenders import Loaded, joined, run_batches
from prepare import load_batches, load_inputs, pt2q_prepared
from workloads import Case


def _mode(variant: str) -> AbstractContextManager[Any]:
    """A compiled model runs as of the state of autocast at the call."""
    if variant == "int8_bf16":
        mode: AbstractContextManager[Any] = pt2q.amp.autocast("cpu", dtype=pt2q.bfloat16)
        return mode
    return contextlib.nullcontext()


def _compiled(variant: str, folder: pathlib.Path, facts: dict[str, Any]) -> tuple[Any, int]:
    name = variant if variant in ("float32", "int8_attention") else "int8"
    file = folder / f"pt2q_{name}.pt2"
    module = pt2q.export.load(file, mmap=True).module()  # as OpenVINO reads its files
    start = time.perf_counter()
    with _mode(variant):
        model = pt2q.compile(module)
    facts["compile_s"] = time.perf_counter() - start
    return model, file.stat().st_size


def load(variant: str, case: Case, folder: pathlib.Path, threads: int) -> Loaded:
    x = load_inputs(folder)
    facts: dict[str, Any] = {"isa": pt2q.cpu_info()["isa"]}
    if variant == "calibrate":
        pt2q.set_num_threads(threads)
        prepared = pt2q_prepared(case, folder)
        return Loaded(lambda: prepared(*x), lambda y: y, facts=facts)
    if variant.endswith("_throughput"):
        return _streams(variant.removesuffix("_throughput"), folder, threads, facts)
    pt2q.set_num_threads(threads)
    model, size = _compiled(variant, folder, facts)

    batches = load_batches(folder)
    run = run_batches(lambda batch: model(*batch), batches)

    def call() -> Any:
        with _mode(variant):
            return run()

    def steps(runs: int) -> Any:
        with _mode(variant):
            return roofline.steps(model, x, runs)

    return Loaded(call, joined, size, len(batches), facts, steps)


def _streams(variant: str, folder: pathlib.Path, threads: int, facts: dict[str, Any]) -> Loaded:
    """One Python thread per core on one model, each running its calls alone."""
    pt2q.set_num_threads(1)
    model, size = _compiled(variant, folder, facts)
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    batches = load_batches(folder)
    rounds = max(1, -(-2 * threads // len(batches)))  # so that every thread has work

    def call() -> Any:
        return list(pool.map(lambda batch: model(*batch), rounds * batches))

    return Loaded(call, lambda answers: joined(answers[: len(batches)]), size, rounds * len(batches), facts)
