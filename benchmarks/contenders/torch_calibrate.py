"""torchao's prepared model (X86 default configuration): one call is one calibration batch."""

from __future__ import annotations

from typing import Any

import torch

from contenders import peer


def load(model: str, batch: int, threads: int) -> tuple[Any, dict[str, Any]]:
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as xiq

    torch.set_num_threads(threads)
    module, x = peer.build(model, batch)
    exported = torch.export.export(module, (x,), strict=True).module()
    quantizer = xiq.X86InductorQuantizer()
    quantizer.set_global(xiq.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)

    def call() -> Any:
        with torch.no_grad():
            return prepared(x).numpy()

    return call, {"torch": torch.__version__}
