"""Running a prepared model over calibration data, with progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pt2q import _core


class CalibrationResult(NamedTuple):
    """What ``calibrate`` has seen."""

    batches: int
    samples: int
    seconds: float

    @property
    def samples_per_second(self) -> float:
        return self.samples / self.seconds if self.seconds > 0 else float("inf")


def _batch_size(inputs: tuple[Any, ...]) -> int:
    shape: tuple[int, ...] = getattr(inputs[0], "shape", ())
    return int(shape[0]) if len(shape) > 0 else 1


def calibrate(
    model: Any,
    data: Iterable[Any],
    *,
    progress: bool | Callable[[int, int], None] | None = None,
    max_batches: int | None = None,
) -> CalibrationResult:
    """Runs ``model`` (prepared by ``prepare_pt2e``) on every batch of ``data``.

    Args:
        model: the prepared model; its observers collect statistics.
        data: batches: an array or tensor, or a tuple/list whose first items are the model's inputs
            (a label after them is ignored).
        progress: True shows a progress bar, False none, None one on a terminal; or a function called
            with (batches done, samples done).
        max_batches: stop after that many batches.

    Returns:
        How many batches and samples were seen and how long it took.

    Raises:
        ValueError: ``data`` yields no batch.
        KeyboardInterrupt: on Ctrl-C, between two batches; the statistics collected so far are kept, and
            calibration may go on or the model be converted.
    """
    count = len(model.graph.find_nodes(op="placeholder"))
    bar: Any = None
    if progress or (progress is None and sys.stderr.isatty()):
        if callable(progress):
            bar = None
        else:
            bar = _progress_bar(data, max_batches)
    batches = samples = 0
    start = time.perf_counter()
    try:
        for batch in data:
            inputs = tuple(batch)[:count] if isinstance(batch, (tuple, list)) else (batch,)
            model(*inputs)
            batches += 1
            samples += _batch_size(inputs)
            if bar is not None:
                bar.update(_batch_size(inputs))
            if callable(progress):
                progress(batches, samples)
            if max_batches is not None and batches >= max_batches:
                break
    finally:
        if bar is not None:
            bar.close()
    if batches == 0:
        raise _core.ValueError("calibration data is empty: the observers have seen nothing")
    return CalibrationResult(batches, samples, time.perf_counter() - start)


class _PlainBar:
    """A counter line on stderr, for machines without tqdm."""

    def __init__(self, total: int | None) -> None:
        self._total, self._done = total, 0

    def update(self, n: int) -> None:
        self._done += n
        total = f"/{self._total}" if self._total is not None else ""
        print(f"\rcalibrating: {self._done}{total} samples", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        print(file=sys.stderr)


def _progress_bar(data: Any, max_batches: int | None) -> Any:
    total = None
    if max_batches is None and hasattr(data, "dataset"):
        try:
            total = len(data.dataset)
        except TypeError:
            total = None
    try:
        from tqdm import tqdm
    except ImportError:
        return _PlainBar(total)
    return tqdm(total=total, unit="image", desc="calibrating", leave=True)
