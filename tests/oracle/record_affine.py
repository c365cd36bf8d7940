"""Records what torchao computes for its per-block operators, as exact bytes.

Writes tests/cases/quantization/affine.json, which tests/cpp/affine_test.cpp replays. Run it again only
to add cases: python tests/oracle/record_affine.py
"""

from __future__ import annotations

import itertools
import json
import pathlib
from typing import Any

import torch
import torchao
import torchao.quantization.pt2e.reference_representation_rewrite
from record_qdq import NAN, SPECIAL, TIES, encode

OPS = torch.ops.torchao
BLOCKS = [(4, 6), (1, 6), (4, 1), (2, 3), (1, 1), (4, 2)]


class Recorder:
    def __init__(self) -> None:
        self.cases: list[dict[str, Any]] = []

    def add(self, name: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(OPS, name).default(*args, **kwargs)
        case = {"op": f"torchao.{name}.default", "args": encode(list(args)), "out": encode(result)}
        if kwargs:
            case["kwargs"] = {k: encode(v) for k, v in kwargs.items()}
        self.cases.append(case)
        return result


def blocks(r: Recorder) -> None:
    values = torch.tensor((SPECIAL + TIES)[:21] + [100.0, -100.0, 7.25]).reshape(4, 6)
    ranges = [(torch.int8, -8, 7), (torch.uint8, 0, 255), (torch.int16, None, None), (torch.int32, None, None)]
    for block, (dtype, lo, hi) in itertools.product(BLOCKS, ranges):
        count = (4 // block[0]) * (6 // block[1])
        for source, scale_dtype in ((torch.float32, torch.float32), (torch.bfloat16, torch.float32), (torch.float16, torch.float16)):
            if dtype == torch.int32 and scale_dtype == torch.float16:
                continue  # PyTorch cannot clamp float16 to that range
            scale = (torch.rand(count) + 0.05).to(scale_dtype)
            zp = torch.randint(0, 5, (count,), dtype=torch.int32)
            q = r.add("quantize_affine", values.to(source), block, scale, zp, dtype, lo, hi)
            r.add("dequantize_affine", q, block, scale, zp, dtype, lo, hi, output_dtype=source)


def chosen(r: Recorder) -> None:
    data = [torch.randn(4, 6), torch.zeros(4, 6), torch.rand(4, 6) + 1.0, torch.randn(4, 6) * 1e-30]
    data[0][0, 0] = NAN
    # Blocks of one element: torchao reduces over everything (torch.amin with no dimensions).
    for x, block, source in itertools.product(data, [b for b in BLOCKS if b != (1, 1)], (torch.float32, torch.float16, torch.bfloat16)):
        for keepdim in (False, True):
            args = (x.to(source), "ASYMMETRIC", block, torch.int8, -128, 127, None, torch.float32, torch.int32, keepdim)
            r.add("choose_qparams_affine", *args)
        r.add("choose_qparams_affine", x.to(source), "SYMMETRIC", block, torch.int8, -8, 7, 1e-5, None, torch.int32)
        r.add("choose_qparams_affine", x.to(source), "SYMMETRIC_NO_CLIPPING_ERR", block, torch.int8, -8, 7, None, None, torch.int32)


def int4_linear(r: Recorder) -> None:
    for sizes, group in (((3, 32), 8), ((2, 2, 32), 16), ((1, 32), 32)):
        w = torch.randint(-8, 8, (5, 32), dtype=torch.int8)
        scale = torch.rand(5, 32 // group) + 0.01
        zp = torch.zeros(5, 32 // group, dtype=torch.int32)
        for bias in (torch.randn(5), None):
            r.add("reference_dqlinear_int4", torch.randn(sizes) * 3, 2.0**-23, w, scale, zp, bias, [1, group])


def main() -> None:
    torch.manual_seed(0)
    recorder = Recorder()
    for record in (blocks, chosen, int4_linear):
        record(recorder)
    target = pathlib.Path(__file__).parent.parent / "cases" / "quantization" / "affine.json"
    rows = ",\n".join(json.dumps(case) for case in recorder.cases)
    target.write_text(f'{{"torchao": "{torchao.__version__}", "cases": [\n{rows}\n]}}\n')
    print(f"{len(recorder.cases)} cases in {target}")


if __name__ == "__main__":
    main()
