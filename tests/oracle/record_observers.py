"""Records what PyTorch's observers and fake-quantize modules compute, as exact bytes.

Writes tests/cases/quantization/observers.json, which tests/cpp/observers_test.cpp replays:
class, arguments, batches, then state_dict, scale, zero point and (fake-quantize) the outputs.
"""

from __future__ import annotations

import json
import pathlib
import warnings
from typing import Any

import torch
from record_qdq import encode
from torch.ao.quantization import fake_quantize as fq
from torch.ao.quantization import observer as ob

SCHEMES = {
    "per_tensor_affine": torch.per_tensor_affine,
    "per_tensor_symmetric": torch.per_tensor_symmetric,
    "per_channel_affine": torch.per_channel_affine,
    "per_channel_symmetric": torch.per_channel_symmetric,
    "per_channel_affine_float_qparams": torch.per_channel_affine_float_qparams,
}
CASES: list[dict[str, Any]] = []


def to_torch(kwargs: dict[str, Any]) -> dict[str, Any]:
    out = dict(kwargs)
    if "qscheme" in out:
        out["qscheme"] = SCHEMES[out["qscheme"]]
    if "observer" in out:
        out["observer"] = getattr(ob, out["observer"])
    return out


def add(name: str, kwargs: dict[str, Any], batches: list[torch.Tensor]) -> None:
    cls = getattr(ob, name, None) or getattr(fq, name)
    module = cls(**to_torch(kwargs))
    outputs = [module(x) for x in batches]
    case: dict[str, Any] = {
        "class": name,
        "kwargs": {k: encode(v) for k, v in kwargs.items()},
        "batches": [encode(x) for x in batches],
        "state": {k: encode(v) for k, v in module.state_dict().items()},
        "qparams": encode(list(module.calculate_qparams())),
        "range": [module.quant_min, module.quant_max],
    }
    if "Fake" in name:
        case["outputs"] = encode(outputs)
    CASES.append(case)


def record() -> None:
    torch.manual_seed(0)
    inf = float("inf")
    normal = [torch.randn(3, 5), torch.randn(7) * 3 + 1, torch.randn(2, 2, 2, 2) * 0.1]
    sequences = [
        [], normal, [torch.zeros(4)], [torch.full((3,), 2.5)], [torch.full((3,), -2.5), torch.full((2,), -2.5)],
        [torch.full((3,), 1e-12)], [torch.tensor([1e-38, -1e-39])], [torch.tensor([3e37, -1e37])],
        [torch.empty(0), torch.rand(4)], [torch.rand(6) + 5, torch.rand(6) + 50, -torch.rand(6)],
    ]
    dtypes = [torch.quint8, torch.qint8, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32, torch.quint4x2]
    ranges = [{}, {"reduce_range": True}, {"quant_min": 0, "quant_max": 127}, {"quant_min": -127, "quant_max": 127}]
    for scheme in ("per_tensor_affine", "per_tensor_symmetric"):
        for dtype in dtypes:
            for extra in ranges:
                if dtype == torch.quint8 and scheme == "per_tensor_symmetric" and "reduce_range" in extra:
                    continue
                for batches in (normal, sequences[9], sequences[5]):
                    add("MinMaxObserver", {"dtype": dtype, "qscheme": scheme, **extra}, batches)
    for batches in [*sequences, [torch.tensor([1.0, inf])]]:
        add("MinMaxObserver", {}, batches)
        add("MinMaxObserver", {"eps": 2.0**-12, "dtype": torch.int8}, batches)
        add("MovingAverageMinMaxObserver", {}, batches)
        add("MovingAverageMinMaxObserver", {"averaging_constant": 0.3, "dtype": torch.qint8}, batches)
        # Above 3.4e38 / bins torch.histc overflows and puts every value into bin 0; here it does not.
        if not any(x.numel() and x.abs().max() > 1e36 for x in batches):
            add("HistogramObserver", {"bins": 64}, batches)
    weights = [torch.randn(4, 3, 5) * torch.tensor([1.0, 10, 1e-9, 0])[:, None, None] for _ in range(3)]
    for scheme in ("per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams"):
        for axis in (0, 1, 2, -1):
            for dtype in (torch.quint8, torch.int8):
                args = {"ch_axis": axis, "qscheme": scheme, "dtype": dtype}
                add("PerChannelMinMaxObserver", args, weights)
                add("MovingAveragePerChannelMinMaxObserver", args, weights)
    record_histograms()
    record_fake_quantize(normal, weights)


def record_histograms() -> None:
    inf = float("inf")
    for bins, count in ((2048, 2), (128, 12)):
        for seed in range(count):
            g = torch.Generator().manual_seed(seed)
            batches = [
                torch.randn(300 + 17 * k, generator=g) * 10 ** (2 * float(torch.rand((), generator=g)) - 1) + 0.3 * k
                for k in range(4)
            ]
            if seed % 3 == 1:
                batches = [b.relu() for b in batches]
            if seed % 3 == 2:
                batches = [b.exp() for b in batches]
            extra = {"qscheme": "per_tensor_symmetric", "dtype": torch.int8} if seed % 2 else {}
            add("HistogramObserver", {"bins": bins, **extra}, batches)
    data = torch.linspace(-1, 3, 97)
    add("HistogramObserver", {"bins": 32}, [torch.full((5,), 2.0), data])
    add("HistogramObserver", {"bins": 32}, [torch.full((5,), 2.0), torch.full((3,), 2.0), torch.full((1,), -7.0)])
    add("HistogramObserver", {"bins": 32}, [torch.tensor([inf, 1.0, 1.0, -inf]), torch.tensor([inf]), data])
    add("HistogramObserver", {"bins": 32, "dtype": torch.int16}, [data, data * 3])
    add("HistogramObserver", {"bins": 32, "quant_min": 0, "quant_max": 127}, [data, data / 3])


def record_fake_quantize(normal: list[torch.Tensor], weights: list[torch.Tensor]) -> None:
    special = [torch.tensor([-3.0, 2.0, 0.5, 1.5, 2.5]), torch.zeros(3), torch.tensor([1e-9, -1e-9]), torch.tensor([1e-3, 0.0])]
    for name in ("FakeQuantize", "FusedMovingAvgObsFakeQuantize"):
        for batches in (normal, special, [x.abs() for x in normal], [-x.abs() for x in normal]):
            add(name, {"quant_min": 0, "quant_max": 255}, batches)
            for scheme in ("per_tensor_affine", "per_tensor_symmetric"):
                for lo in (-128, -127):
                    args = {"quant_min": lo, "quant_max": 127, "dtype": torch.qint8, "qscheme": scheme, "eps": 2.0**-12}
                    add(name, args, batches)
            add(name, {"qscheme": "per_tensor_symmetric", "quant_min": 0, "quant_max": 255, "averaging_constant": 0.5}, batches)
        for axis in (0, 1) if name == "FakeQuantize" else (0,):  # the fused one refuses other axes
            for scheme in ("per_channel_affine", "per_channel_symmetric"):
                args = {"observer": "MovingAveragePerChannelMinMaxObserver", "quant_min": -128, "quant_max": 127}
                add(name, {**args, "dtype": torch.qint8, "qscheme": scheme, "ch_axis": axis}, weights)
    args = {"observer": "MovingAveragePerChannelMinMaxObserver", "qscheme": "per_channel_affine_float_qparams"}
    add("FakeQuantize", {**args, "dtype": torch.quint8, "quant_min": 0, "quant_max": 255, "averaging_constant": 1.0}, weights)
    add("FakeQuantize", {"observer": "HistogramObserver", "bins": 32, "quant_min": 0, "quant_max": 255, "reduce_range": True}, normal)


def main() -> None:
    warnings.simplefilter("ignore")
    record()
    target = pathlib.Path(__file__).parent.parent / "cases" / "quantization" / "observers.json"
    rows = ",\n".join(json.dumps(case) for case in CASES)
    target.write_text(f'{{"torch": "{torch.__version__}", "cases": [\n{rows}\n]}}\n')
    print(f"{len(CASES)} cases in {target}")


if __name__ == "__main__":
    main()
