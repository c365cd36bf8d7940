"""pt2q, quantized by the X86 default configuration and compiled."""

from __future__ import annotations

from typing import Any

import pt2q
from contenders import ours


def load(model: str, batch: int, threads: int) -> tuple[Any, dict[str, Any]]:
    pt2q.set_num_threads(threads)
    converted, x, info = ours.quantized(model, batch)
    return ours.compiled(converted, x, info), info
