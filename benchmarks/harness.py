"""Interleaved timing of contenders, each in a process of its own that stays alive.

A contender is a module of benchmarks/contenders with ``load(model, batch) -> (call, info)``: ``call()``
runs one batch and returns the logits as a NumPy array; ``info`` is a dict of facts (load seconds, ...).
Rounds go A B C A B C ..., so that a slow moment of a shared machine hits all alike; ratios are taken per
round and the median over rounds is reported.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


class Contender:
    """The parent's end of one worker process."""

    def __init__(self, name: str, model: str, batch: int, threads: int) -> None:
        self.name = name
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), TORCHINDUCTOR_FREEZING="1")
        command = [sys.executable, __file__, name, model, str(batch), str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)  # fmt: skip
        self.info = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                reply: dict[str, Any] = json.loads(line)
                return reply
        raise RuntimeError(f"contender {self.name} stopped (exit code {self._process.wait()})")

    def time(self, seconds: float) -> float:
        """Smallest seconds per call in one round."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def close(self) -> None:
        self._process.communicate("", timeout=60)


def input_batch(batch: int) -> np.ndarray:
    """The same float32 [batch, 3, 224, 224] for every contender."""
    return np.random.default_rng(0).standard_normal((batch, 3, 224, 224)).astype(np.float32)


def run_rounds(contenders: list[Contender], rounds: int, seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {c.name: [] for c in contenders}
    for c in contenders:
        c.time(0.0)  # warm-up
    for _ in range(rounds):
        for c in contenders:
            times[c.name].append(c.time(seconds))
    return times


def median_ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times faster ``fast`` is than ``slow``: median over rounds."""
    return statistics.median(s / f for s, f in zip(times[slow], times[fast]))


def _worker() -> None:
    parser = argparse.ArgumentParser()
    for argument in ("name", "model"):
        parser.add_argument(argument)
    for argument in ("batch", "threads"):
        parser.add_argument(argument, type=int)
    args = parser.parse_args()
    sys.path.insert(0, str(HERE))
    call, info = importlib.import_module(f"contenders.{args.name}").load(args.model, args.batch, args.threads)  # fmt: skip
    start = time.perf_counter()
    logits = call()
    info["first_call_s"] = time.perf_counter() - start
    info["logits"] = np.asarray(logits)[0, :64].astype(float).tolist()
    print(json.dumps(info), flush=True)
    for line in sys.stdin:
        stop = time.perf_counter() + float(line)
        best = float("inf")
        while True:
            start = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - start)
            if time.perf_counter() >= stop:
                break
        print(json.dumps({"seconds": best}), flush=True)


if __name__ == "__main__":
    _worker()
