#!/usr/bin/env python3
"""Quantizes real models from capture to int8 and shows what that costs and brings.

Without arguments: a small residual network on the UCI handwritten digits (both in this folder).
With --data FOLDER: MobileNetV2 and SqueezeNet on labelled ImageNet images and the CIFAR ResNets on
CIFAR-10 test images, from a folder that holds their weights and images.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from tasks import Task, cifar_task, digits_task, imagenet_task

import pt2q as torch
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)


class Result(NamedTuple):
    """One line of the table."""

    name: str
    images: int
    top1: tuple[float, float, float]  # float, q/dq, int8, per cent
    agreement_float: float  # int8 and float predict the same class, per cent
    agreement_qdq: float  # int8 and q/dq
    sqnr: float  # int8 logits against float, dB
    sizes: tuple[int, int]  # bytes of the float and the quantized .pt2 file
    latency: tuple[float, float]  # seconds per image, compiled float and int8
    calibration_rate: float  # images per second
    saturation: str


def batches(images: Any, size: int) -> Iterator[np.ndarray]:
    for begin in range(0, len(images), size):
        yield images[begin : begin + size]


def predict(model: Callable[[np.ndarray], np.ndarray], images: Any, size: int) -> np.ndarray:
    return np.concatenate([model(batch) for batch in batches(images, size)])


def sqnr(signal: np.ndarray, other: np.ndarray) -> float:
    """Signal-to-quantization-noise ratio in dB."""
    noise = np.linalg.norm(signal - other)
    return float("inf") if noise == 0 else 20 * float(np.log10(np.linalg.norm(signal) / noise))


def interleaved_latency(models: list[Any], batch: np.ndarray, seconds: float = 1.0) -> list[float]:
    """Smallest time per image of each model; they take turns, so that a busy machine hits all alike."""
    for model in models:
        model(batch)
    best = [float("inf")] * len(models)
    stop = time.perf_counter() + seconds * len(models)
    while time.perf_counter() < stop:
        for i, model in enumerate(models):
            start = time.perf_counter()
            model(batch)
            best[i] = min(best[i], time.perf_counter() - start)
    return [value / len(batch) for value in best]


def saturation_verdict(compiled: Any, batch: np.ndarray) -> str:
    """Why no int8 layer of the model can saturate, in one phrase."""
    count = compiled.saturation(batch)
    reasons = {
        "impossible": "instruction cannot",
        "bounded": "bound proven",
        "exact_route": "exact route",
    }
    said = [f"{count[key]} {text}" for key, text in reasons.items() if count[key]]
    refused = len(compiled.refused())
    text = f"{count['layers']} int8 layers: {', '.join(said) or 'none'}"
    return text + (f"; {refused} layers left in float" if refused else "")


def run(task: Task, out: pathlib.Path, progress: bool) -> Result:
    model = task.model.eval()
    example = (torch.from_numpy(task.calibration[:2]),)
    dynamic = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(model, example, dynamic_shapes=dynamic)
    float_path, int8_path = out / f"{task.name}.pt2", out / f"{task.name}_int8.pt2"
    torch.export.save(exported, float_path)
    float_compiled = torch.compile(exported.module())

    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported.module(), quantizer)
    seen = torch.calibrate(prepared, batches(task.calibration, task.batch), progress=progress)
    converted = convert_pt2e(prepared)
    compiled = torch.compile(converted)

    float_logits = predict(float_compiled, task.images, task.batch)
    qdq_logits = predict(converted, task.images, task.batch)
    int8_logits = predict(compiled, task.images, task.batch)

    quantized = torch.export.export(converted, example, dynamic_shapes=dynamic)
    torch.export.save(quantized, int8_path)
    reloaded = torch.export.load(int8_path).module()
    first = task.images[: task.batch]
    difference = float(np.abs(reloaded(first) - converted(first)).max())
    if difference != 0:
        raise RuntimeError(f"{task.name}: the reloaded model differs by {difference}")

    classes = [logits.argmax(1) for logits in (float_logits, qdq_logits, int8_logits)]
    top1 = tuple(100 * float((c == task.labels).mean()) for c in classes)
    latency = interleaved_latency([float_compiled, compiled], task.images[:1])
    return Result(
        name=task.name,
        images=len(task.images),
        top1=(top1[0], top1[1], top1[2]),
        agreement_float=100 * float((classes[0] == classes[2]).mean()),
        agreement_qdq=100 * float((classes[1] == classes[2]).mean()),
        sqnr=sqnr(float_logits, int8_logits),
        sizes=(float_path.stat().st_size, int8_path.stat().st_size),
        latency=(latency[0], latency[1]),
        calibration_rate=seen.samples_per_second,
        saturation=saturation_verdict(compiled, task.images[:1]),
    )


def table(results: list[Result]) -> str:
    heads = ["model", "images", "top-1 % float / q-dq / int8", "same class as float / q-dq",
             "SQNR", ".pt2 MB float / int8", "ratio", "ms float / int8", "speed-up"]  # fmt: skip
    rows = [
        [
            r.name,
            str(r.images),
            " / ".join(f"{v:.2f}" for v in r.top1),
            f"{r.agreement_float:.2f} / {r.agreement_qdq:.2f}",
            f"{r.sqnr:.1f} dB",
            f"{r.sizes[0] / 1e6:.2f} / {r.sizes[1] / 1e6:.2f}",
            f"{r.sizes[1] / r.sizes[0]:.2f}",
            f"{1e3 * r.latency[0]:.3f} / {1e3 * r.latency[1]:.3f}",
            f"{r.latency[0] / r.latency[1]:.2f}x",
        ]
        for r in results
    ]
    widths = [max(len(line[i]) for line in [heads, *rows]) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)) for line in [heads, *rows]]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def tasks(args: argparse.Namespace) -> Iterator[Task]:
    if args.data is None:
        yield digits_task(pathlib.Path(__file__).parent)
        return
    for name in ("mobilenet_v2", "squeezenet1_1"):
        if not args.model or name in args.model:
            yield imagenet_task(name, args.data)
    for name in ("resnet20", "resnet56"):
        if not args.model or name in args.model:
            yield cifar_task(name, args.data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", type=pathlib.Path, help="folder with real weights and images")
    parser.add_argument("--model", action="append", help="only this model of --data (repeatable)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("demo-out"), help="where the .pt2 files go")  # fmt: skip
    parser.add_argument("--no-progress", action="store_true")
    args = parser.parse_args()
    if args.data is not None and not args.data.is_dir():
        parser.error(f"--data: '{args.data}' is not a folder")
    args.out.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("default")
    results = []
    for task in tasks(args):
        print(f"{task.name}: {task.title}", flush=True)
        results.append(run(task, args.out, not args.no_progress))
    if not results:
        parser.error(f"no model is called {', '.join(args.model)}")
    print(f"\n{table(results)}\n")
    print(f"CPU: {torch.cpu_info()['isa']}, {torch.get_num_threads()} threads; latency at batch 1, best of interleaved runs")
    for r in results:
        print(f"{r.name}: calibration {r.calibration_rate:.0f} images/s; saturation: {r.saturation}")
    print(f"files: {args.out}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
