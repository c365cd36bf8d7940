#!/usr/bin/env python3
"""Dynamic shapes: a compiled model on 200 random input sizes against one fixed size.

Both run the same compiled model, which takes any size. After a warm-up with other sizes, the time per
input element over 200 sizes that mostly come for the first time is divided by the time per element of
the mean size; what is above 1 is the price of building plans. Resident memory is read before and after
the last three quarters of the calls. Prints one JSON object per model.

    benchmarks/dynamic_shapes.py [--shapes 200] [--models NAME ...] [--float]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import places  # noqa: F401  pt2q is the build tree's
import pt2q as torch
import workloads
from nets import EncoderLayer
from pt2q import nn
from pt2q.vision import models

Shape = tuple[int, ...]


class Tokens(nn.Module):
    """Feed-forward blocks over [batch, tokens, features]: batch and tokens vary."""

    def __init__(self, width: int = 384, blocks: int = 6) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(blocks))

    def forward(self, x: Any) -> Any:
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return x


def encoder() -> nn.Module:
    """MiniLM's layers, attention included, over [batch, tokens, 384]."""
    return nn.Sequential(*(EncoderLayer(384, 12, 1536, False) for _ in range(6)))


def image_shape(rng: np.random.Generator) -> Shape:
    return (int(rng.integers(1, 5)), 3, int(rng.integers(96, 257)), int(rng.integers(96, 257)))


def token_shape(rng: np.random.Generator) -> Shape:
    return (int(rng.integers(1, 9)), int(rng.integers(16, 257)), 384)


# name: (model, its dynamic dimensions, a random shape)
MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...], Callable[[np.random.Generator], Shape]]] = {
    "tokens": (Tokens, (0, 1), token_shape),
    "encoder": (encoder, (0, 1), token_shape),
    "resnet18": (models.resnet18, (0, 2, 3), image_shape),
    "mobilenet_v2": (models.mobilenet_v2, (0, 2, 3), image_shape),
}


def resident_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def array(shape: Shape) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def compiled(make: Callable[[], Any], dims: tuple[int, ...], example: Shape, quantize: bool) -> Any:
    torch.manual_seed(0)
    dynamic = ({d: torch.export.Dim(f"d{d}") for d in dims},)
    model = torch.export.export(make().eval(), (torch.from_numpy(array(example)),), dynamic_shapes=dynamic).module()
    if quantize:
        model = workloads.x86_converted(model, [(array(example),)])
    return torch.compile(model)


def seconds(model: Any, inputs: list[np.ndarray]) -> float:
    start = time.perf_counter()
    for x in inputs:
        model(x)
    return time.perf_counter() - start


def measure(name: str, count: int, quantize: bool) -> dict[str, Any]:
    make, dims, draw = MODELS[name]
    rng = np.random.default_rng(1)
    shapes = [draw(rng) for _ in range(count)]
    fixed = tuple(round(float(np.mean([s[d] for s in shapes]))) for d in range(len(shapes[0])))
    model = compiled(make, dims, fixed, quantize)
    seconds(model, [array(draw(rng)) for _ in range(20)] + [array(fixed)] * 3)  # warm-up

    random_time = fixed_time = 0.0
    memory = 0.0
    elements = 0
    for i, shape in enumerate(shapes):  # interleaved, so that a busy machine hits both alike
        x, y = array(shape), array(fixed)
        random_time += seconds(model, [x])
        fixed_time += seconds(model, [y])
        elements += x.size
        if i == count // 4:
            memory = resident_mib()
    per_element = random_time / elements
    per_element_fixed = fixed_time / (count * int(np.prod(fixed)))
    return {
        "model": name,
        "kind": "int8" if quantize else "float32",
        "isa": torch.isa_name(),
        "threads": torch.get_num_threads(),
        "shapes": count,
        "distinct": len(set(shapes)),
        "fixed_shape": list(fixed),
        "ns_per_element": round(per_element * 1e9, 3),
        "ns_per_element_fixed": round(per_element_fixed * 1e9, 3),
        "ratio": round(per_element / per_element_fixed, 3),
        "rss_mib": round(resident_mib(), 1),
        "rss_growth_mib": round(resident_mib() - memory, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=200)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--float", action="store_true", help="also without quantization")
    args = parser.parse_args()
    for quantize in (True, False) if args.float else (True,):
        for name in args.models:
            print(json.dumps(measure(name, args.shapes, quantize)), flush=True)


if __name__ == "__main__":
    main()
