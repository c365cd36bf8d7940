#!/usr/bin/env python3
"""Throughput of one compiled int8 model: several calls at once against one call after another.

    benchmarks/throughput.py [--case resnet18:1 ...] [--threads 2] [--rounds 5] [--seconds 1]

Contenders take turns (A B C A B C ...): plain calls on all threads and on one, ``async_map`` with 1 ..
threads streams, and as many Python threads making plain calls. Needs nothing but pt2q; weights are random.
Results are checked against plain calls bit for bit before anything is timed. Writes JSON, a Markdown table
and bar charts to benchmarks/results.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import places
import pt2q
import report as reporting
from harness import FOREIGN_CPUS, busy
from workloads import Case, builder, inputs, x86_converted

CASES = ("mobilenet_v2:1", "resnet18:1", "minilm:1", "dlrm:2048")
Work = Callable[[int], Any]  # runs that many batches


def quantized_module(module: Any, x: tuple[Any, ...]) -> Any:
    """Compiled, with the ranges of one example."""
    return pt2q.compile(x86_converted(pt2q.export.export(module, x).module(), [x]))


def quantized(case: Case) -> Any:
    pt2q.manual_seed(0)
    return quantized_module(builder(case.model)().eval(), tuple(map(pt2q.from_numpy, inputs(case))))


def contenders(model: Any, x: tuple[Any, ...], threads: int) -> dict[str, tuple[int, Work]]:
    """name: (threads of the process, work)."""

    def plain(count: int) -> None:
        for _ in range(count):
            model(*x)

    def streams(number: int) -> Work:
        def work(count: int) -> None:
            for _ in model.async_map((x for _ in range(count)), streams=number):
                pass

        return work

    def callers(number: int) -> Work:
        def work(count: int) -> None:
            pool = [threading.Thread(target=plain, args=(-(-count // number),)) for _ in range(number)]
            for t in pool:
                t.start()
            for t in pool:
                t.join()

        return work

    found: dict[str, tuple[int, Work]] = {"plain, 1 thread": (1, plain)}
    if threads > 1:
        found[f"plain, {threads} threads"] = (threads, plain)
    for n in range(1, threads + 1):
        found[f"async_map, {n} stream{'s' if n > 1 else ''}"] = (threads, streams(n))
    if threads > 1:
        found[f"{threads} Python threads"] = (threads, callers(threads))
    return found


def sample(work: Work, count: int) -> dict[str, float]:
    before, cpu, begin = busy(), time.process_time(), time.perf_counter()
    work(count)
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    foreign = max(0.0, busy() - before - cpu) / wall
    return {"ms": 1e3 * wall / count, "cpu_ms": 1e3 * cpu / count, "foreign": foreign}


def check(case: Case, model: Any, threads: int) -> None:
    varied = [tuple(inputs(case, seed)) for seed in range(4)]
    expected = [np.asarray(model(*x)) for x in varied]
    for n in range(1, threads + 1):
        for got, want in zip(model.async_map(iter(varied), streams=n), expected, strict=True):
            if np.asarray(got).tobytes() != want.tobytes():
                raise SystemExit(f"{case}: {n} streams give other results than plain calls")


def measure(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    pt2q.set_num_threads(args.threads)
    model = quantized(case)
    check(case, model, args.threads)
    x = tuple(inputs(case))
    rows = contenders(model, x, args.threads)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
    count = max(4 * args.threads, int(args.seconds / (sample(rows["plain, 1 thread"][1], 3)["ms"] / 1e3)))
    for _ in range(args.rounds):
        for name, (threads, work) in rows.items():
            pt2q.set_num_threads(threads)
            work(2 * args.threads)  # plans for this number of threads
            samples[name].append(sample(work, count))
    return {"case": str(case), "batches": count, "contenders": dict(summaries(case, samples))}


def summaries(case: Case, samples: dict[str, list[dict[str, float]]]) -> Iterator[tuple[str, dict[str, float]]]:  # fmt: skip
    """Medians over the rounds; ratios are taken inside a round."""
    base = samples["plain, 1 thread"]
    for name, found in samples.items():
        ratios = [b["ms"] / s["ms"] for b, s in zip(base, found)]
        ms = statistics.median(s["ms"] for s in found)
        yield name, {
            "ms": ms,
            "items_per_s": 1e3 * case.batch / ms,
            "cpu_ms": statistics.median(s["cpu_ms"] for s in found),
            "of_one_thread": statistics.median(ratios),
            "quiet_rounds": sum(s["foreign"] < FOREIGN_CPUS for s in found),
            "rounds": len(found),
        }


def text(report: dict[str, Any]) -> str:
    machine = report["machine"]
    rows = [[row["case"], name, f"{c['ms']:.3f}", f"{c['items_per_s']:.0f}", f"{c['cpu_ms']:.3f}",
             f"{c['of_one_thread']:.2f}", f"{c['quiet_rounds']}/{c['rounds']}"]
            for row in report["rows"] for name, c in row["contenders"].items()]  # fmt: skip
    heads = ["case", "contender", "ms per batch", "items/s", "CPU ms", "times one thread", "quiet rounds"]
    lines = [f"{machine['cpu']}; {machine['isa']}; {machine['threads']} threads; {machine['date']}.", ""]
    return "\n".join(lines) + "\n" + reporting.table(heads, rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--case", action="append", help="MODEL:BATCH, repeatable; default: " + " ".join(CASES))  # fmt: skip
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="per contender and round")
    parser.add_argument("--out", type=pathlib.Path, default=places.RESULTS)
    args = parser.parse_args()
    report: dict[str, Any] = {"machine": reporting.machine(args.threads), "versions": reporting.versions(), "rows": []}  # fmt: skip
    for case in map(Case.parse, args.case or CASES):
        report["rows"].append(measure(case, args))
        reporting.write(args.out, "throughput", report, text(report))
    groups = {r["case"]: {n: c["items_per_s"] for n, c in r["contenders"].items()} for r in report["rows"]}
    title = f"{report['machine']['cpu']}, {args.threads} threads, {report['machine']['isa']}"
    reporting.bars(groups, "items per second", title, args.out / "throughput.png")
    print(text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
