"""Records what PyTorch computes for the quantized_decomposed operators, as exact bytes.

Writes tests/cases/quantization/qdq.json, which tests/cpp/affine_test.cpp replays. Run it again only
to add cases: python tests/oracle/record_qdq.py
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed

OPS = torch.ops.quantized_decomposed
NAN, INF = float("nan"), float("inf")
RANGES = {
    torch.uint8: (0, 255),
    torch.int8: (-128, 127),
    torch.uint16: (0, 65535),
    torch.int16: (-32768, 32767),
    torch.int32: (-(2**31), 2**31 - 1),
    torch.float8_e4m3fn: (-448, 448),
    torch.float8_e5m2: (-57344, 57344),
}
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38]
TIES = [k + 0.5 for k in range(-6, 6)]


def encode(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        raw = value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return {"tensor": str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "hex": raw.hex()}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, (tuple, list)):
        return [encode(v) for v in value]
    return value


class Recorder:
    def __init__(self) -> None:
        self.cases: list[dict[str, Any]] = []

    def add(self, name: str, *args: Any, **kwargs: Any) -> Any:
        packet, overload = name.split(".")
        result = getattr(getattr(OPS, packet), overload)(*args, **kwargs)
        case = {"op": f"quantized_decomposed.{name}", "args": encode(list(args)), "out": encode(result)}
        if kwargs:
            case["kwargs"] = {k: encode(v) for k, v in kwargs.items()}
        self.cases.append(case)
        return result


def per_tensor(r: Recorder) -> None:
    x = torch.tensor(SPECIAL + TIES + torch.randn(40).mul(40).tolist())
    for dtype, (lo, hi) in RANGES.items():
        for scale, zp in ((1.0, 0), (0.0737, 13), (1e-39, 3)):
            q = r.add("quantize_per_tensor.default", x, scale, zp, lo, hi, dtype)
            r.add("dequantize_per_tensor.default", q, scale, zp, lo, hi, dtype)
    for source in (torch.float16, torch.bfloat16):
        r.add("quantize_per_tensor.default", x.to(source), 0.3, 5, 0, 200, torch.uint8)
    q = torch.arange(256, dtype=torch.uint8)
    for out in (torch.float16, torch.bfloat16, torch.float64, torch.float32):
        r.add("dequantize_per_tensor.default", q, 0.0123, 77, 0, 255, torch.uint8, out_dtype=out)
    s, z = torch.tensor([0.1]), torch.tensor([9])
    r.add("quantize_per_tensor.tensor", x, s, z, -128, 127, torch.int8)
    r.add("quantize_per_tensor.tensor2", x, s.double(), z, torch.tensor(-7), torch.tensor([100]), torch.int8)
    b = torch.arange(-128, 128).to(torch.int8)
    r.add("dequantize_per_tensor.tensor", b, s, z, -128, 127, torch.int8)
    r.add("dequantize_per_tensor.tensor2", b, s.double(), z, torch.tensor(-7), torch.tensor([100]), torch.int8)


def per_channel(r: Recorder) -> None:
    x = torch.randn(2, 3, 2, 2).mul(20)
    x[0, 0, 0] = torch.tensor([NAN, INF])
    for dtype in (torch.uint8, torch.int8, torch.int32):
        lo, hi = RANGES[dtype]
        for axis in range(4):
            n = x.shape[axis]
            for sdtype in (torch.float32, torch.float64):
                s = torch.rand(n, dtype=sdtype) + 0.01
                for z in (torch.randint(0, 9, (n,)), torch.randint(0, 9, (n,), dtype=torch.int32), torch.rand(n) * 9):
                    q = r.add("quantize_per_channel.default", x, s, z, axis, lo, hi, dtype)
                    r.add("dequantize_per_channel.default", q, s, z, axis, lo, hi, dtype)
    q = torch.randint(0, 256, (4, 6), dtype=torch.uint8)
    s = torch.rand(6)
    r.add("dequantize_per_channel.default", q, s, None, 1, 0, 255, torch.uint8)
    r.add("dequantize_per_channel.default", q, s, torch.randint(0, 256, (6,), dtype=torch.uint8), 1, 0, 255, torch.uint8)
    r.add("dequantize_per_channel.default", q, s.double(), torch.randint(0, 99, (6,)), 1, 0, 255, torch.uint8,
          out_dtype=torch.float16)
    x = torch.randn(4, 6) * 9
    x[0, 0] = NAN
    r.add("fake_quant_per_channel.default", x, torch.rand(6), torch.randint(0, 9, (6,)), 1, 0, 255)
    r.add("fake_quant_per_channel.default", x, torch.rand(4).double(), torch.randint(-3, 9, (4,)), 0, -8, 7)
    r.add("convert_element_type.no_fuse", x, torch.float16)
    r.add("convert_element_type.no_fuse", x, torch.bfloat16)


def chosen(r: Recorder) -> None:
    data = [torch.randn(3, 7) * s for s in (1.0, 1e-9, 1e9)] + [
        torch.tensor([-1.3, 2.7]), torch.zeros(3), torch.full((2,), 4.0), torch.full((2,), -4.0),
        torch.tensor([1.0, INF]), torch.tensor([NAN, 1.0]), torch.tensor([-INF, INF]),
    ]
    for x in data:
        for source in (torch.float32, torch.float16, torch.bfloat16):
            for dtype in (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32):
                lo, hi = RANGES[dtype]
                for eps in (2.0**-23, 2.0**-12):
                    r.add("choose_qparams.tensor", x.to(source), lo, hi, eps, dtype)
                    r.add("choose_qparams_symmetric.tensor", x.to(source), lo, hi, eps, dtype)
    r.add("choose_qparams.tensor", data[0], 0, 127, 2.0**-23, torch.uint8)


def per_token(r: Recorder) -> None:
    x = torch.randn(2, 3, 8) * 5
    x[0, 0] = 0.0
    x[0, 1] = x[0, 1].abs()
    x[1, 1] = -x[1, 1].abs()
    for source in (torch.float32, torch.float16, torch.bfloat16):
        y = x.to(source)
        s, z = r.add("choose_qparams_per_token.default", y, torch.int8)
        q = r.add("quantize_per_token.default", y, s, z, -128, 127, torch.int8)
        r.add("dequantize_per_token.default", q, s, z, -128, 127, torch.int8, torch.float32)
        s, z = r.add("choose_qparams_per_token_asymmetric.default", y, torch.int8)
        q = r.add("quantize_per_token.default", y, s, z, -128, 127, torch.int8)
        for out in (torch.float32, torch.bfloat16):
            r.add("dequantize_per_token.default", q, s, z, -128, 127, torch.int8, out)
    w = torch.randn(6, 32)
    for group in (8, 16, 32):
        s = torch.rand(6, 32 // group) + 0.02
        for z in (torch.zeros(6, 32 // group, dtype=torch.int32), torch.randint(-3, 4, (6, 32 // group))):
            q = r.add("quantize_per_channel_group.default", w, s, z, -8, 7, torch.int8, group)
            r.add("dequantize_per_channel_group.default", q, s, z, -8, 7, torch.int8, group, torch.float32)
        r.add("dequantize_per_channel_group.default", q, s, None, -8, 7, torch.int8, group, torch.float16)
    r.add("quantize_per_channel_group.default", w[:, :1].contiguous(), s[:, :1], z[:, :1], -8, 7, torch.int8, 64)


def main() -> None:
    torch.manual_seed(0)
    recorder = Recorder()
    for record in (per_tensor, per_channel, chosen, per_token):
        record(recorder)
    target = pathlib.Path(__file__).parent.parent / "cases" / "quantization" / "qdq.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(json.dumps(case) for case in recorder.cases)
    target.write_text(f'{{"torch": "{torch.__version__}", "cases": [\n{rows}\n]}}\n')
    print(f"{len(recorder.cases)} cases in {target}")


if __name__ == "__main__":
    main()
