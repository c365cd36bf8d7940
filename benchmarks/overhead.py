#!/usr/bin/env python3
"""What a call costs beside its arithmetic: per step, and per graph. Prints a table, writes JSON.

    benchmarks/overhead.py [--threads 1] [--case mobilenet_v2:1 ...]

Per step: chains of tiny linear layers of two lengths; the difference of their times over the difference of
their steps, arithmetic included. Per graph: what remains of the time of a one-layer model, and for real
models the least time of a call over the least sum of its steps (wall). Chains: CPU time, least of several rounds.
Memory of activations: what the plan holds over what is alive at the fullest step.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import places
import pt2q as torch
import report as reporting
from pt2q import nn
from throughput import quantized, quantized_module
from workloads import Case, inputs

CASES = ("mobilenet_v2:1", "squeezenet1_1:1", "resnet18:1", "resnet50:1", "minilm:1", "vit_b16:1", "dlrm:2048")
SHORT, LONG = 10, 50


class Chain(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(layers))

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


def least(call: Callable[[], Any], calls: int, rounds: int = 9) -> float:
    """Microseconds of CPU time per call."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            call()
        best = min(best, (time.process_time() - start) / calls)
    return best * 1e6


def chains(kind: str) -> dict[str, float]:
    x = torch.ones(1, 8)
    found = {}
    for layers in (1, SHORT, LONG):
        net = Chain(layers).eval()
        if kind == "int8":
            model = quantized_module(net, (x,))
        else:
            model = torch.compile(torch.export.export(net, (x,)).module())
        model(x)
        found[layers] = (least(lambda: model(x), 2000), len(model.steps(x)))  # noqa: B023
        if layers == 1:
            array = np.ones((1, 8), np.float32)
            numpy = least(lambda: model(array), 2000)  # noqa: B023
    step = (found[LONG][0] - found[SHORT][0]) / (found[LONG][1] - found[SHORT][1])
    return {"step_us": step, "call_us": found[1][0] - step * found[1][1], "call_numpy_us": numpy - step * found[1][1]}


def graph_level(case: Case) -> dict[str, float]:
    """A call's time against the sum of its steps' (wall, least of many, by turns)."""
    model, x = quantized(case), inputs(case)
    model(*x)
    calls, steps = [], []
    for _ in range(40):
        start = time.perf_counter()
        model(*x)
        calls.append(1e6 * (time.perf_counter() - start))
        steps.append([1e6 * s["seconds"] for s in model.steps(*x, repeats=1)])
    total = float(np.array(steps).sum(axis=1).min())  # of one run, as the call is
    return {"call_us": min(calls), "steps_us": total, "steps": len(steps[0]), "share": min(calls) / total - 1, **model.memory(*x)}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", action="append", help="MODEL:BATCH; default: " + " ".join(CASES))
    parser.add_argument("--out", type=pathlib.Path, default=places.RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    report: dict[str, Any] = {"machine": reporting.machine(args.threads), "versions": reporting.versions()}
    report["chains"] = {kind: chains(kind) for kind in ("float32", "int8")}
    report["models"] = {str(c): graph_level(c) for c in map(Case.parse, args.case or CASES)}
    rows = [[k, f"{c['step_us']:.2f}", f"{c['call_us']:.2f}", f"{c['call_numpy_us']:.2f}"] for k, c in report["chains"].items()]  # fmt: skip
    text = reporting.table(["chain", "us per step", "us per call", "us per call, NumPy"], rows) + "\n"
    rows = [[k, f"{m['steps']:.0f}", f"{m['call_us']:.0f}", f"{m['steps_us']:.0f}", f"{100 * m['share']:.1f} %"] for k, m in report["models"].items()]  # fmt: skip
    text += reporting.table(["model", "steps", "call us", "sum of steps us", "above"], rows) + "\n"
    rows = [[k, f"{m['activations'] / 1e6:.2f}", f"{m['activations'] / m['alive']:.2f}", f"{m['scratch'] / 1e6:.2f}"] for k, m in report["models"].items()]  # fmt: skip
    text += reporting.table(["model", "activations MB", "of what is alive", "scratch MB"], rows)
    reporting.write(args.out, "overhead", report, text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
