#!/usr/bin/env python3
"""Whole models: our int8 and float32 against torch.compile, calibration against torchao's, and what pt2q costs once.

Needs PyTorch and torchao only (``make bench``); benchmarks/peers.py has the other runtimes. Prints tables;
writes JSON, Markdown and bar charts to benchmarks/results.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from typing import Any

import costs
import observers
import report as reporting
from contenders import CONTENDERS
from harness import Contender, Failed, ratio, run_rounds, summary
from peers import ENOUGH_DB
from places import RESULTS, WORK
from prepare import ensure
from workloads import Case

GROUPS = {
    "inference": ["pt2q_float32", "pt2q_int8", "torch_float32"],
    "calibration": ["pt2q_calibrate", "pt2q_float32", "torch_calibrate"],
}
# (faster, slower, what the ratio says, target)
RATIOS = {
    "inference": [
        ("pt2q_int8", "pt2q_float32", "int8 over our float32", 1.3),
        ("pt2q_float32", "torch_float32", "our float32 over torch.compile", 1.0),
    ],
    # Calibration cannot be faster than the float32 network it observes: the second ratio tells how near it is.
    "calibration": [
        ("pt2q_calibrate", "torch_calibrate", "our calibration over torchao's", 3.0),
        ("pt2q_calibrate", "pt2q_float32", "our calibration over our float32", 0.9),
    ],
}
CASES = ("inference:resnet18:1", "inference:resnet18:50", "inference:mobilenet_v2:1",
         "calibration:resnet18:50", "calibration:mobilenet_v2:50")  # fmt: skip
# measure: (greatest value that meets the target, unit)
COST_TARGETS = {"import_s": (0.4, "s"), "import_mb": (45, "MB"), "prepare_and_convert_s": (0.5, "s"),
                "compile_with_first_call_s": (2.0, "s"), "file_ratio": (0.30, "")}  # fmt: skip


def measure(group: str, case: Case, args: argparse.Namespace, log: Any) -> dict[str, Any]:
    folder = case.folder(args.work)
    names = [n for n in GROUPS[group] if not (args.no_peers and not CONTENDERS[n].ours)]
    running = []
    for name in names:
        ensure(case, CONTENDERS[name].artifact, args.work, log)
        contender = Contender(name, str(case), folder, args.threads, log)
        if contender.info["sqnr_db"] < ENOUGH_DB[CONTENDERS[name].kind]:
            raise Failed(f"{name} computes something else: {contender.info['sqnr_db']:.1f} dB against float32")  # fmt: skip
        running.append(contender)
    failed = run_rounds(running, args.rounds, args.seconds)
    if failed:
        raise Failed(str(failed))
    for contender in running:
        contender.close()
    by_name = {c.name: c for c in running}
    return {
        "group": group,
        "case": str(case),
        "contenders": {c.name: {**summary(c, args.clock), **c.info} for c in running},
        "ratios": [
            {"what": what, "ratio": ratio(by_name[slow], by_name[fast], args.clock), "target": target}
            for fast, slow, what, target in RATIOS[group]
            if fast in by_name and slow in by_name
        ],
    }


def once(args: argparse.Namespace, log: Any) -> dict[str, float]:
    """What ResNet-50 costs before its first answer."""
    case = Case("resnet50", 1)
    ensure(case, "base", args.work, log)
    found = {**costs.import_cost(), **costs.least(case, case.folder(args.work))}
    suffix = "_cpu_s" if args.clock == "cpu" else "_s"
    found["prepare_and_convert_s"] = found["prepare" + suffix] + found["convert" + suffix]
    found["compile_with_first_call_s"] = found["compile" + suffix] + found["first_call" + suffix] - found["call" + suffix]  # fmt: skip
    return found


def text(report: dict[str, Any]) -> str:
    machine = report["machine"]
    lines = [f"{machine['cpu']}; {machine['isa']}; {machine['threads']} threads; {machine['date']}; {report['clock']} time.", ""]  # fmt: skip
    rows = []
    for row in report["rows"]:
        ms = ", ".join(f"{n} {c['ms']:.2f}" for n, c in row["contenders"].items())
        ratios = "; ".join(f"{r['what']} {r['ratio']:.2f}x (target {r['target']})" for r in row["ratios"])  # fmt: skip
        rows.append([row["group"], row["case"], ms, ratios])
    lines += [reporting.table(["what", "case", "ms per batch (median of rounds)", "ratio"], rows)]
    if "observers" in report:
        rows = [[n, f"{r['ours']:.3f}", f"{r['theirs']:.3f}", f"{r['ratio']:.1f}x"] for n, r in report["observers"].items()]  # fmt: skip
        lines += [reporting.table(["observer (ns per element; search: ms)", "ours", "torchao", "ratio"], rows)]  # fmt: skip
    if "observers_by_size" in report:
        lines += [observers.table(report["observers_by_size"])]
    rows = [[n, f"{report['once'][n]:.3f} {unit}", f"<= {target} {unit}"] for n, (target, unit) in COST_TARGETS.items()]  # fmt: skip
    lines += [reporting.table(["once, ResNet-50", "measured", "target"], rows)]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", help="GROUP:MODEL:BATCH, repeatable; default: " + " ".join(CASES))  # fmt: skip
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="per contender and round")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--no-peers", action="store_true", help="pt2q only; needs the artifacts to be there")  # fmt: skip
    parser.add_argument("--work", type=pathlib.Path, default=WORK)
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "machine": reporting.machine(args.threads),
        "versions": reporting.versions(),
        "clock": args.clock,
        "rows": [],
    }
    with open(args.work / "log.txt", "ab") as log:
        for spec in args.case or CASES:
            group, _, case = spec.partition(":")
            if group not in GROUPS:
                raise SystemExit(f"--case '{spec}': expected GROUP:MODEL:BATCH with one of {', '.join(GROUPS)}")  # fmt: skip
            print(f"{spec} ...", flush=True)
            report["rows"].append(measure(group, Case.parse(case), args, log))
        report["once"] = once(args, log)
        if not args.no_peers:
            report["observers"] = observers.compare(args.threads, args.clock)
            limits = reporting.limits(args.threads)
            report["observers_by_size"] = observers.by_size(args.threads, args.clock, limits)
    result = text(report)
    reporting.write(args.out, "models", report, result)
    groups = {f"{r['group']} {r['case']}": {n: c["ms"] for n, c in r["contenders"].items()} for r in report["rows"]}  # fmt: skip
    reporting.bars(groups, f"ms per batch ({args.clock} time)", report["machine"]["isa"], args.out / "models.png")  # fmt: skip
    print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
