#!/usr/bin/env python3
"""Real models on real images: our int8 against torchao's quantized model, same weights, same split.

    accuracy.py --data FOLDER [--model mobilenet_v2] [--images 900]

FOLDER is what examples/demo/demo.py takes. Needs PyTorch and torchao. Where FOLDER holds
reference_predictions.npz (stored results of torchao on these images), they are compared too.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any, NamedTuple

import numpy as np

import workloads
from harness import sqnr
from places import RESULTS, ROOT

sys.path.insert(0, str(ROOT / "examples" / "demo"))
import tasks

MODELS = {
    "mobilenet_v2": "mobilenet_v2",
    "squeezenet1_1": "squeezenet1_1",
    "resnet20": "cifar_resnet20",
    "resnet56": "cifar_resnet56",
}


class Logits(NamedTuple):
    """What each model says of the same images: [n, classes] each."""

    labels: np.ndarray
    float32: np.ndarray
    qdq: np.ndarray  # our converted model, as it is
    int8: np.ndarray  # our converted model, compiled
    torchao: np.ndarray  # torchao's converted model


def load_task(model: str, data: pathlib.Path, images: int | None = None) -> tasks.Task:
    if model.startswith("resnet"):
        return tasks.cifar_task(model, data)
    return tasks.imagenet_task(model, data, images)


def _predict(model: Any, images: Any, count: int, size: int) -> np.ndarray:
    return np.concatenate([np.asarray(model(images[i : i + size])) for i in range(0, count, size)])


def _ours(task: tasks.Task, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import pt2q

    example = (pt2q.from_numpy(task.calibration[: task.batch]),)
    exported = pt2q.export.export(task.model.eval(), example)
    batches = [(task.calibration[i : i + task.batch],) for i in range(0, len(task.calibration), task.batch)]
    converted = workloads.x86_converted(exported.module(), batches)
    models = (pt2q.compile(exported.module()), converted, pt2q.compile(converted))
    float32, qdq, int8 = (_predict(m, task.images, count, task.batch) for m in models)
    return float32, qdq, int8


def _torchao(name: str, task: tasks.Task, count: int) -> np.ndarray:
    import torch
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as xiq
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    model = workloads.torch_builder(MODELS[name])().eval()
    state = {k: torch.from_numpy(v.numpy().copy()) for k, v in task.model.state_dict().items()}
    model.load_state_dict(state)
    calibration = [torch.from_numpy(task.calibration[i : i + task.batch]) for i in range(0, len(task.calibration), task.batch)]  # fmt: skip
    quantizer = xiq.X86InductorQuantizer()
    quantizer.set_global(xiq.get_default_x86_inductor_quantization_config())
    with torch.no_grad():
        program = torch.export.export(model, (calibration[0],), strict=True)
        prepared = prepare_pt2e(program.module(), quantizer)
        for batch in calibration:
            prepared(batch)
        converted = convert_pt2e(prepared)
        return _predict(lambda x: converted(torch.from_numpy(x)), task.images, count, task.batch)


def compare(name: str, task: tasks.Task, count: int) -> Logits:
    """Quantizes with both on all calibration images and runs the first ``count`` evaluation images,
    a multiple of the task's batch."""
    count = min(count, len(task.images)) // task.batch * task.batch
    return Logits(task.labels[:count], *_ours(task, count), _torchao(name, task, count))


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Per cent of images of which both say the same class."""
    return 100 * float((a.argmax(1) == b.argmax(1)).mean())


def figures(logits: Logits) -> dict[str, float]:
    def top1(values: np.ndarray) -> float:
        return 100 * float((values.argmax(1) == logits.labels).mean())

    return {
        "images": len(logits.labels),
        "top1_float32": top1(logits.float32),
        "top1_int8": top1(logits.int8),
        "top1_torchao": top1(logits.torchao),
        "agreement_with_torchao": agreement(logits.int8, logits.torchao),
        "agreement_with_qdq": agreement(logits.int8, logits.qdq),
        "qdq_agreement_with_torchao": agreement(logits.qdq, logits.torchao),
        "sqnr_int8": sqnr(logits.float32, logits.int8),
        "sqnr_torchao": sqnr(logits.float32, logits.torchao),
    }


def stored(name: str, logits: Logits, data: pathlib.Path) -> dict[str, float]:
    """Agreement with stored predictions of PyTorch and torchao; {} where there are none."""
    file = data / "reference_predictions.npz"
    if not file.exists():
        return {}
    with np.load(file) as found:
        key = f"{name}_cifar10" if name.startswith("resnet") else name
        count = len(logits.labels)
        same = {
            "float32": logits.float32.argmax(1) == found[f"{key}.argmax_fp32"][:count],
            "int8": logits.int8.argmax(1) == found[f"{key}.argmax_int8"][:count],
        }
    return {f"stored_{k}_agreement": 100 * float(v.mean()) for k, v in same.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--model", action="append", choices=tuple(MODELS))
    parser.add_argument("--images", type=int, default=1000, help="at most so many evaluation images")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    args = parser.parse_args()
    import report as reporting

    rows: dict[str, Any] = {}
    for name in args.model or MODELS:
        logits = compare(name, load_task(name, args.data, args.images), args.images)
        rows[name] = {**figures(logits), **stored(name, logits, args.data)}
        print(name, json.dumps(rows[name]), flush=True)
    names = list(next(iter(rows.values())))
    lines = [[name, *[f"{row[name]:.2f}" for row in rows.values()]] for name in names]
    text = reporting.table(["", *rows], lines)
    facts = {"machine": reporting.machine(1), "versions": reporting.versions()}
    reporting.write(args.out, "accuracy", {**facts, "models": rows}, text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
