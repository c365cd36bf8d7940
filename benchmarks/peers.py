#!/usr/bin/env python3
"""pt2q against the other int8 runtimes on whole models, side by side in one run.

    benchmarks/peers.py                                   every case, every contender
    benchmarks/peers.py --case resnet18:1 --peer ov_int8  some (pt2q always runs)
    benchmarks/peers.py --threads 1 --clock cpu           CPU time: for a machine that others use too

The first start makes a virtual environment with the peers (.venv-peers, 2 GB). Artifacts are built on
first use under build/bench. Every contender's answer is checked against PyTorch's float32 answer before
it is timed. Writes JSON, a Markdown table and bar charts to benchmarks/results.
"""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import subprocess
import sys
from typing import Any

from places import RESULTS, ROOT, WORK

VENV = ROOT / ".venv-peers"
# Least signal-to-noise ratio in dB against float32. Random weights: int8 noise is large but not absurd.
GOALS = ("int8", "throughput", "float32")  # what we compare with the best of the others
STEP_RUNS = 20  # of our models, for the time of each step
ENOUGH_DB = {"float32": 60.0, "int8": 8.0, "bf16": 8.0, "calibrate": 60.0}


def enter_venv() -> None:
    """Goes on in the peers' environment; makes it when it is not there or its list has changed."""
    wanted = ROOT / "tools" / "requirements-peers.txt"
    stamp = VENV / ".stamp"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        print(f"installing the peers into {VENV} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        pip = [str(VENV / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "torch==2.13.0"], check=True)
        subprocess.run([*pip, "-r", str(wanted)], check=True)
        stamp.write_text(wanted.read_text())
    if pathlib.Path(sys.prefix).resolve() != VENV.resolve():
        python = str(VENV / "bin" / "python")
        os.execv(python, [python, *sys.argv])


def start(case: Any, names: list[str], args: argparse.Namespace, log: Any) -> tuple[list[Any], dict[str, str]]:  # fmt: skip
    """The contenders that run and answer rightly, and why the others do not."""
    from contenders import CONTENDERS
    from harness import Contender, Failed
    from prepare import ensure

    running, failed = [], {}
    for name in names:
        spec = CONTENDERS[name]
        try:
            seconds = ensure(case, spec.artifact, args.work, log)
            contender = Contender(name, str(case), case.folder(args.work), args.threads, log)  # fmt: skip
        except (Failed, RuntimeError) as error:
            failed[name] = str(error)
            continue
        contender.info["prepare_s"] = seconds
        if contender.info["sqnr_db"] < ENOUGH_DB[spec.kind]:
            failed[name] = f"wrong answer: {contender.info['sqnr_db']:.1f} dB against float32"
            contender.close()
            continue
        running.append(contender)
        print(f"  {name}: load {contender.info['load_s']:.2f} s, {contender.info['sqnr_db']:.1f} dB", flush=True)  # fmt: skip
    for name, why in failed.items():
        print(f"  {name}: left out, {why}", flush=True)
    return running, failed


def best(ms: dict[str, float], names: list[str], ours: bool) -> str | None:
    """The fastest of ours, or of the others."""
    from contenders import CONTENDERS

    found = [n for n in names if CONTENDERS[n].ours == ours]
    return min(found, key=lambda n: ms[n]) if found else None


def measure(case: Any, names: list[str], args: argparse.Namespace, limits: dict[str, Any], log: Any) -> dict[str, Any]:  # fmt: skip
    import json

    from contenders import CONTENDERS
    from harness import ratio, run_rounds, summary
    from roofline import bound
    from workloads import TRANSFORMERS

    if case.model not in TRANSFORMERS:
        names = [n for n in names if "attention" not in n]
    running, failed = start(case, names, args, log)
    failed |= run_rounds(running, args.rounds, args.seconds)
    roofline = {}
    if limits:
        ours_only = [c for c in running if CONTENDERS[c.name].ours]
        found = {c.name: c.steps(STEP_RUNS) for c in ours_only}
        roofline = {n: bound(rows, limits) for n, rows in found.items() if rows}
    for contender in running:
        contender.close()
    folder = case.folder(args.work)
    gop = json.loads((folder / "facts.json").read_text())["gop"]
    row: dict[str, Any] = {"case": str(case), "gop": gop, "failed": failed, "contenders": {}, "roofline": roofline}
    for contender in running:
        row["contenders"][contender.name] = {**summary(contender, args.clock), **contender.info}
    ms = {n: c["ms"] for n, c in row["contenders"].items()}
    by_name = {c.name: c for c in running}
    int8 = [n for n in ms if CONTENDERS[n].kind in ("int8", "bf16")]
    goals = {
        "int8": [n for n in int8 if not n.endswith("_throughput")],
        "throughput": int8,
        "float32": [n for n in ms if CONTENDERS[n].kind == "float32" and not n.endswith("_throughput")],
    }
    for goal, rivals in goals.items():
        ours, peer = best(ms, rivals, True), best(ms, rivals, False)
        if ours and peer:
            row[f"best_{goal}"] = peer
            row[f"{goal}_of_best"] = 1 / ratio(by_name[peer], by_name[ours], args.clock)
    memory = [c["peak_mb"] for n, c in row["contenders"].items() if not CONTENDERS[n].ours]
    if memory and "pt2q_int8" in row["contenders"]:
        row["memory_of_least"] = row["contenders"]["pt2q_int8"]["peak_mb"] / min(memory)
    return row


def text(report: dict[str, Any]) -> str:
    from report import table
    from roofline import table as roofline_table

    machine, limits = report["machine"], report["limits"]
    lines = [f"{machine['cpu']}; {machine['isa']}; {machine['threads']} threads; {machine['date']}; {report['clock']} time.",
             ", ".join(f"{k} {v}" for k, v in report["versions"].items()), ""]  # fmt: skip
    if limits:
        lines += [f"Measured limits: int8 {limits['int8_gops']:.0f} GOP/s ({limits['int8_with']}), float32 {limits['float32_gops']:.0f} GOP/s.", ""]  # fmt: skip
    rows = []
    for row in report["rows"]:
        for name, c in sorted(row["contenders"].items(), key=lambda item: item[1]["ms"]):
            rate = row["gop"] / c["ms"] * 1e3
            peak = limits.get("float32_gops" if "float32" in name or "eager" in name else "int8_gops")
            rows.append([row["case"], name, f"{c['ms']:.3f}", f"{c['best_ms']:.3f}", f"{c['spread']:.2f}",
                         f"{c['quiet_rounds']}/{c['rounds']}", f"{rate:.0f}", f"{100 * rate / peak:.0f}" if peak else "",
                         f"{c['sqnr_db']:.1f}", f"{c['load_s']:.2f}", f"{c['first_call_s']:.2f}",
                         f"{c['peak_mb']:.0f}", f"{c['file_mb']:.1f}"])  # fmt: skip
    heads = ["case", "contender", "ms", "best ms", "spread", "quiet rounds", "GOP/s", "% of limit", "SQNR dB", "load s", "first call s", "peak MB", "file MB"]  # fmt: skip
    lines += [table(heads, rows)]
    rows = [[r["case"], *[f"{r[f'{g}_of_best']:.2f} of {r[f'best_{g}']}" if f"best_{g}" in r else "" for g in GOALS],
             "; ".join(f"{n}: {w}" for n, w in r["failed"].items())] for r in report["rows"]]  # fmt: skip
    lines += ["Our time as a share of the best peer's (below 1: we are faster). Throughput: time per batch, several batches",
              "at once allowed.", "", table(["case", "int8 latency", "int8 throughput", "float32 latency", "left out"], rows)]  # fmt: skip
    lines += ["Our peak memory as a share of the least peer's: " + ", ".join(f"{r['case']} {r['memory_of_least']:.2f}" for r in report["rows"] if "memory_of_least" in r), ""]  # fmt: skip
    for goal in GOALS:
        shares = [r[f"{goal}_of_best"] for r in report["rows"] if f"{goal}_of_best" in r]
        if shares:
            mean = math.exp(sum(map(math.log, shares)) / len(shares))
            lines += [f"Geometric mean, {goal}: {mean:.2f}", ""]
    for row in report["rows"]:
        if "pt2q_int8" in row["roofline"]:
            lines += [f"## {row['case']}: steps of pt2q_int8 with the most time above their bound", ""]
            lines += [roofline_table(row["roofline"]["pt2q_int8"], 6)]
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    from workloads import CASES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--case", action="append", help="MODEL:BATCH, repeatable; default: " + " ".join(CASES))  # fmt: skip
    parser.add_argument("--peer", action="append", help="a contender, repeatable; default: all")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="per contender and round")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--work", type=pathlib.Path, default=WORK, help="artifacts")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--name", default="peers", help="stem of the result files")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    enter_venv()
    import report as reporting
    from contenders import CONTENDERS
    from workloads import CASES, Case

    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    known = [n for n, spec in CONTENDERS.items() if spec.kind != "calibrate"]
    unknown = set(args.peer or ()) - set(known)
    if unknown:
        raise SystemExit(f"--peer: expected one of {', '.join(known)}; got {', '.join(unknown)}")
    names = [n for n in known if not args.peer or n in args.peer or CONTENDERS[n].ours]
    report: dict[str, Any] = {
        "machine": reporting.machine(args.threads),
        "versions": reporting.versions(),
        "limits": reporting.limits(args.threads),
        "clock": args.clock,
        "rows": [],
    }
    with open(args.work / "log.txt", "ab") as log:
        for case in map(Case.parse, args.case or CASES):
            print(f"{case} ...", flush=True)
            report["rows"].append(measure(case, names, args, report["limits"], log))
            reporting.write(args.out, args.name, report, text(report))
    groups = {r["case"]: {n: c["ms"] for n, c in r["contenders"].items()} for r in report["rows"]}
    title = f"{report['machine']['cpu']}, {args.threads} threads, {report['machine']['isa']}"
    reporting.bars(groups, f"ms per batch ({args.clock} time)", title, args.out / f"{args.name}.png")
    print(text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
