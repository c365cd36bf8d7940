#!/usr/bin/env python3
"""The first benchmark: whole models, our int8 and float32 against torch.compile, and calibration.

Prints a table; writes JSON, Markdown and a bar chart to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

from harness import HERE, Contender, median_ratio, run_rounds

GROUPS = {
    "inference": ["pt2q_float32", "pt2q_int8", "torch_float32"],
    "calibration": ["pt2q_calibrate", "torch_calibrate"],
}
# (faster, slower, what the ratio says)
RATIOS = {
    "inference": [("pt2q_int8", "pt2q_float32", "int8 over our float32"), ("pt2q_float32", "torch_float32", "our float32 over torch.compile")],
    "calibration": [("pt2q_calibrate", "torch_calibrate", "our calibration over torchao's")],
}  # fmt: skip


def import_cost() -> dict[str, float]:
    """Seconds and MB (peak RSS) of `import pt2q` in a fresh process, and what it prints."""
    code = "import time; t = time.perf_counter(); import pt2q; s = time.perf_counter() - t; import resource; print(s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"  # fmt: skip
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]  # fmt: skip
    numbers = [tuple(map(float, r.stdout.split())) for r in runs]
    printed = any(len(r.stdout.splitlines()) > 1 or r.stderr for r in runs)
    return {"import_s": min(n[0] for n in numbers), "import_mb": min(n[1] for n in numbers), "prints": float(printed)}  # fmt: skip


def check_agreement(contenders: list[Contender]) -> dict[str, float]:
    """Relative difference of each contender's logits from the first one's; large means a wrong kernel."""
    reference = np.array(contenders[0].info["logits"])
    errors = {}
    for c in contenders:
        error = float(np.linalg.norm(np.array(c.info["logits"]) - reference) / np.linalg.norm(reference))
        limit = 0.25 if "int8" in c.name else 1e-3  # random weights: int8 noise is large but not absurd
        if not error < limit:
            raise RuntimeError(f"{c.name} computes something else than {contenders[0].name}: {error:.3g}")
        errors[c.name] = error
    return errors


def measure(group: str, model: str, batch: int, args: argparse.Namespace) -> dict[str, Any]:
    names = [n for n in GROUPS[group] if not (args.no_peers and n.startswith("torch"))]
    contenders = [Contender(name, model, batch, args.threads) for name in names]
    errors = check_agreement(contenders)
    times = run_rounds(contenders, args.rounds, args.seconds)
    for c in contenders:
        c.close()
    row: dict[str, Any] = {"group": group, "model": model, "batch": batch, "relative_error": errors}
    row["ms"] = {n: 1e3 * statistics.median(t) for n, t in times.items()}
    row["spread"] = {n: max(t) / min(t) for n, t in times.items()}
    row["ratios"] = {text: median_ratio(times, slow, fast) for fast, slow, text in RATIOS[group] if fast in times and slow in times}  # fmt: skip
    row["info"] = {c.name: {k: v for k, v in c.info.items() if k != "logits"} for c in contenders}
    return row


def markdown(report: dict[str, Any]) -> str:
    lines = [f"CPU: {report['isa']}, {report['threads']} threads, {report['date']}", ""]
    lines += ["| what | model | batch | ms (median of rounds) | ratio |", "|---|---|---|---|---|"]
    for row in report["rows"]:
        ms = ", ".join(f"{n} {v:.2f}" for n, v in row["ms"].items())
        ratios = ", ".join(f"{t} {v:.2f}x" for t, v in row["ratios"].items())
        lines.append(f"| {row['group']} | {row['model']} | {row['batch']} | {ms} | {ratios} |")
    cost = report["import"]
    lines += ["", f"`import pt2q`: {cost['import_s']:.2f} s, {cost['import_mb']:.0f} MB peak RSS"]
    return "\n".join(lines) + "\n"


def plot(report: dict[str, Any], path: pathlib.Path) -> None:
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = report["rows"]
    figure, axes = plt.subplots(1, len(rows), figsize=(3.2 * len(rows), 3.4), squeeze=False)
    for axis, row in zip(axes[0], rows):
        names = list(row["ms"])
        axis.bar(range(len(names)), [row["ms"][n] for n in names], color=["C0" if n.startswith("pt2q") else "C7" for n in names])  # fmt: skip
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
        axis.set_title(f"{row['model']}, batch {row['batch']}", fontsize=9)
        axis.set_ylabel("ms")
    figure.suptitle(report["isa"], fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", help="group:model:batch, e.g. inference:resnet18:50")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="per contender and round")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "results")
    args = parser.parse_args()
    import pt2q

    cases = args.case or ["inference:resnet18:1", "inference:resnet18:50", "inference:mobilenet_v2:1", "calibration:resnet18:50"]  # fmt: skip
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "isa": pt2q.cpu_info()["isa"],
        "threads": args.threads,
        "python": platform.python_version(),
        "import": import_cost(),
        "rows": [],
    }
    for case in cases:
        group, model, batch = case.split(":")
        print(f"{case} ...", flush=True)
        report["rows"].append(measure(group, model, int(batch), args))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "models.json").write_text(json.dumps(report, indent=1) + "\n")
    (args.out / "models.md").write_text(markdown(report))
    plot(report, args.out / "models.png")
    print(markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
