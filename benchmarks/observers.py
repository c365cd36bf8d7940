"""Observers and the histogram's search for thresholds against torchao's, one process, taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

SHAPE = (8, 64, 56, 56)  # an activation of ResNet


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
        "HistogramObserver": wide,
    }

    def make(library: Any, names: Any, kind: str) -> Any:
        facts = {k: getattr(names, v) if isinstance(v, str) else v for k, v in kinds[kind].items()}
        return getattr(library, kind)(**facts)

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
