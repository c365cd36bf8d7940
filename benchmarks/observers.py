#!/usr/bin/env python3
"""Observers and the histogram's search for thresholds against torchao's, one process, taking turns.

    observers.py [--threads N] [--clock wall|cpu] [--seconds S]

prints the comparison for data of many sizes, with the share of the machine's read bandwidth (measured by
benchmarks/cpp/peak for the cache that holds the data) that our observer reaches: a minimum and a maximum
need one reading of the data, so nothing can be faster than that.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SHAPE = (8, 64, 56, 56)  # an activation of ResNet
SIZES_KB = (64, 256, 1024, 6272, 16384, 65536)


def _pairs() -> dict[str, tuple[Any, Any]]:
    import torch
    import torchao.quantization.pt2e as theirs

    import pt2q
    from pt2q.ao.quantization import observer as ours

    wide = {"dtype": "uint8", "qscheme": "per_tensor_affine"}
    channels = {"dtype": "int8", "qscheme": "per_channel_symmetric", "ch_axis": 0}
    kinds = {
        "MinMaxObserver": wide,
        "MovingAverageMinMaxObserver": wide,
        "PerChannelMinMaxObserver": channels,
        "PerChannelMinMaxObserver, axis 1": {**channels, "ch_axis": 1},
        "HistogramObserver": wide,
    }

    def make(library: Any, names: Any, kind: str) -> Any:
        facts = {k: getattr(names, v) if isinstance(v, str) else v for k, v in kinds[kind].items()}
        return getattr(library, kind.partition(",")[0])(**facts)

    return {kind: (make(ours, pt2q, kind), make(theirs, torch, kind)) for kind in kinds}


def _turns(ours: Callable[[], Any], theirs: Callable[[], Any], clock: Callable[[], float], seconds: float) -> tuple[float, float]:  # fmt: skip
    """Least seconds of each."""
    best = [float("inf"), float("inf")]
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or best[1] == float("inf"):
        for i, call in enumerate((ours, theirs)):
            start = clock()
            call()
            best[i] = min(best[i], clock() - start)
    return best[0], best[1]


def compare(threads: int, clock_name: str, seconds: float = 1.0) -> dict[str, dict[str, float]]:
    """Per observer: nanoseconds per element (or milliseconds per search) of both, and the ratio."""
    import torch

    import pt2q

    torch.set_num_threads(threads)
    pt2q.set_num_threads(threads)
    clock = time.process_time if clock_name == "cpu" else time.perf_counter
    data = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    x, y = pt2q.from_numpy(data), torch.from_numpy(data)
    rows = {}
    with torch.no_grad():
        for name, (ours, theirs) in _pairs().items():
            ours(x), theirs(y)
            a, b = _turns(lambda: ours(x), lambda: theirs(y), clock, seconds)  # noqa: B023
            scale = 1e9 / data.size
            rows[name] = {"ours": a * scale, "theirs": b * scale, "ratio": b / a}
            if name == "HistogramObserver":
                same = [float(np.asarray(q[0]).item()) for q in (ours.calculate_qparams(), theirs.calculate_qparams())]  # fmt: skip
                if same[0] != same[1]:
                    raise RuntimeError(f"{name}: scale {same[0]} differs from torchao's {same[1]}")
                a, b = _turns(ours.calculate_qparams, theirs.calculate_qparams, clock, seconds)
                rows["histogram search"] = {"ours": 1e3 * a, "theirs": 1e3 * b, "ratio": b / a}
    return rows


def by_size(threads: int, clock_name: str, limits: dict[str, Any], seconds: float = 0.5) -> list[dict[str, Any]]:
    """Per observer and size of [rows, 64] float32 data: microseconds of both, and how near ours is to
    reading the data once at the machine's rate. ``limits`` as benchmarks/cpp/peak prints them, or {}."""
    import torch

    import pt2q
    from roofline import _bandwidth

    torch.set_num_threads(threads)
    pt2q.set_num_threads(threads)
    clock = time.process_time if clock_name == "cpu" else time.perf_counter
    rows = []
    for kb in SIZES_KB:
        data = np.random.default_rng(0).standard_normal((4 * kb, 64)).astype(np.float32)
        x, y = pt2q.from_numpy(data), torch.from_numpy(data)
        calls = range(max(1, 1024 // kb))  # a clock's tick is longer than a small call
        for name, (ours, theirs) in _pairs().items():
            with torch.no_grad():
                ours(x), theirs(y)
                a, b = _turns(lambda: [ours(x) for _ in calls], lambda: [theirs(y) for _ in calls], clock, seconds)  # noqa: B023
            row = {"observer": name, "kb": kb, "ours_us": 1e6 * a / len(calls), "theirs_us": 1e6 * b / len(calls)}
            row["gbs"] = 1e-3 * data.nbytes / row["ours_us"]
            if limits:
                row["level"], rate = _bandwidth(data.nbytes, limits)
                row["limit_gbs"] = 1e-9 * rate
            rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of :func:`by_size`."""
    import report

    heads = ["observer", "KB", "ours us", "torchao us", "ratio", "ours GB/s", "reading GB/s", "of it"]
    lines = []
    for r in sorted(rows, key=lambda r: [r["observer"], r["kb"]]):
        line = [r["observer"], str(r["kb"]), f"{r['ours_us']:.1f}", f"{r['theirs_us']:.1f}"]
        line += [f"{r['theirs_us'] / r['ours_us']:.1f}x", f"{r['gbs']:.1f}"]
        known = "limit_gbs" in r
        line += [f"{r['limit_gbs']:.0f} ({r['level']})", f"{100 * r['gbs'] / r['limit_gbs']:.0f} %"] if known else ["", ""]
        lines.append(line)
    return report.table(heads, lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--seconds", type=float, default=0.5, help="per observer and size")
    args = parser.parse_args()
    import report

    limits = report.limits(args.threads)
    print(table(by_size(args.threads, args.clock, limits, args.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
