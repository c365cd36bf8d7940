"""pt2q, compiled float32."""

from __future__ import annotations

from typing import Any

import pt2q
from contenders import ours


def load(model: str, batch: int, threads: int) -> tuple[Any, dict[str, Any]]:
    pt2q.set_num_threads(threads)
    info: dict[str, Any] = {}
    exported, x = ours.export(model, batch)
    return ours.compiled(exported, x, info), info
