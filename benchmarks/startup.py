#!/usr/bin/env python3
"""Start-up and memory of pt2q alone: import, load, compile, first call, in processes of their own.

    benchmarks/startup.py [--case resnet18:1 ...] [--threads 2] [--processes 3]

Variants: float32 and int8 as loaded, int8 from a mapped file, and int8 with ``tune="measure"`` in a first
process (nothing measured yet) and in later ones. Times are the least over the processes, CPU and wall;
memory is the process's peak, of which "base" is Python with NumPy and pt2q imported. Weights are random.
Writes JSON and a Markdown table to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import places
import pt2q
import report as reporting
from workloads import Case, builder, inputs, x86_converted

CASES = ("resnet18:1", "resnet50:1", "mobilenet_v2:1", "squeezenet1_1:1", "minilm:1", "vit_b16:1", "dlrm:2048")
VARIANTS = {
    "float32": ("float32", {}, {}),
    "int8": ("int8", {}, {}),
    "int8, mapped": ("int8", {"mmap": True}, {}),
    "int8, measured": ("int8", {}, {"tune": "measure"}),
}
_PROCESS = """
import json, resource, sys, time
path, inputs, threads, load, compile = json.loads(sys.argv[1])
def now(): return [time.perf_counter(), time.process_time()]
marks = [now()]
import numpy as np
import pt2q
marks.append(now())
def peak(): return next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith("VmHWM"))
base = peak()
pt2q.set_num_threads(threads)
x = list(np.load(inputs).values())
marks.append(now())
model = pt2q.export.load(path, **load).module()
marks.append(now())
model = pt2q.compile(model, **compile)
marks.append(now())
model(*x)
marks.append(now())
names = ["import", "inputs", "load", "compile", "first_call"]
times = {n: [b - a for a, b in zip(*pair)] for n, pair in zip(names, zip(marks, marks[1:]))}
print(json.dumps({"times": times, "base_mb": base, "peak_mb": peak()}))
"""


def artifacts(case: Case, folder: pathlib.Path) -> None:
    import numpy as np

    pt2q.manual_seed(0)
    x = tuple(map(pt2q.from_numpy, inputs(case)))
    np.savez(folder / "inputs.npz", *inputs(case))
    exported = pt2q.export.export(builder(case.model)().eval(), x)
    pt2q.export.save(exported, folder / "float32.pt2")
    converted = x86_converted(exported.module(), [x])
    pt2q.export.save(pt2q.export.export(converted, x), folder / "int8.pt2")


def run(folder: pathlib.Path, variant: str, threads: int) -> dict[str, Any]:
    kind, load, compile_ = VARIANTS[variant]
    argument = json.dumps([str(folder / f"{kind}.pt2"), str(folder / "inputs.npz"), threads, load, compile_])
    env = dict(os.environ, PT2Q_CACHE_DIR=str(folder / "cache"))
    done = subprocess.run([sys.executable, "-c", _PROCESS, argument], capture_output=True, text=True, check=True, env=env)  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def least(runs: list[dict[str, Any]]) -> dict[str, Any]:
    names = runs[0]["times"]
    found: dict[str, Any] = {f"{n}_s": min(r["times"][n][0] for r in runs) for n in names}
    found |= {f"{n}_cpu_s": min(r["times"][n][1] for r in runs) for n in names}
    return found | {"base_mb": min(r["base_mb"] for r in runs), "peak_mb": min(r["peak_mb"] for r in runs)}


def measure(case: Case, threads: int, processes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([sys.executable, __file__, "--make", str(case), name], check=True)
        variants = {}
        for variant in VARIANTS:
            runs = [run(folder, variant, threads) for _ in range(processes)]
            if variant.endswith("measured"):
                variants[f"{variant}, first process"] = least(runs[:1])
                runs = runs[1:] or [run(folder, variant, threads)]
            variants[variant] = least(runs)
        return {"case": str(case), "variants": variants}


def text(report: dict[str, Any]) -> str:
    rows = []
    for row in report["rows"]:
        for name, v in row["variants"].items():
            start = v["load_s"] + v["compile_s"] + v["first_call_s"]
            cpu = v["load_cpu_s"] + v["compile_cpu_s"] + v["first_call_cpu_s"]
            rows.append([row["case"], name, *[f"{1e3 * v[f'{n}_s']:.0f}" for n in ("load", "compile", "first_call")],
                         f"{1e3 * start:.0f}", f"{1e3 * cpu:.0f}", f"{v['base_mb']:.0f}", f"{v['peak_mb']:.0f}"])  # fmt: skip
    heads = ["case", "variant", "load ms", "compile ms", "first call ms", "together ms", "CPU ms", "base MB", "peak MB"]  # fmt: skip
    machine = report["machine"]
    return f"{machine['cpu']}; {machine['isa']}; {machine['threads']} threads; {machine['date']}.\n\n" + reporting.table(heads, rows)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--case", action="append", help="MODEL:BATCH; default: " + " ".join(CASES))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, default=places.RESULTS)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)  # CASE FOLDER: in a process of its own
    args = parser.parse_args()
    if args.make:
        artifacts(Case.parse(args.make[0]), pathlib.Path(args.make[1]))
        return 0
    report: dict[str, Any] = {"machine": reporting.machine(args.threads), "versions": reporting.versions(), "rows": []}  # fmt: skip
    for case in map(Case.parse, args.case or CASES):
        report["rows"].append(measure(case, args.threads, args.processes))
        reporting.write(args.out, "startup", report, text(report))
    print(text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
