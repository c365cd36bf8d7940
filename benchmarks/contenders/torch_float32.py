"""torch.compile float32 with freezing."""

from __future__ import annotations

from typing import Any

import torch
import torch._inductor.config

from contenders import peer


def load(model: str, batch: int, threads: int) -> tuple[Any, dict[str, Any]]:
    torch.set_num_threads(threads)
    torch._inductor.config.freezing = True
    module, x = peer.build(model, batch)
    exported = torch.export.export(module, (x,), strict=True).module()
    compiled = torch.compile(exported)

    def call() -> Any:
        with torch.no_grad():
            return compiled(x).numpy()

    return call, {"torch": torch.__version__}
