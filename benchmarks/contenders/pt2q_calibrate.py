"""pt2q's prepared model (X86 default configuration): one call is one calibration batch."""

from __future__ import annotations

from typing import Any

import pt2q
from contenders import ours


def load(model: str, batch: int, threads: int) -> tuple[Any, dict[str, Any]]:
    from pt2q.ao.quantization.quantize_pt2e import prepare_pt2e
    from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )

    pt2q.set_num_threads(threads)
    exported, x = ours.export(model, batch)
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    return lambda: prepared(x).numpy(), {}
