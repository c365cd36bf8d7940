#!/usr/bin/env python3
"""Where a compiled model's time goes, step by step, against what the machine can do at most.

    roofline.py CASE [float32|int8|int8_bf16] [--threads N]

A step's bound is the longer of its arithmetic at the measured peak and its bytes (inputs, weights and
result, each moved once) at the read rate of the smallest cache that holds them.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from typing import Any

import numpy as np

from places import WORK


def _bytes(meta: Any) -> int:
    if meta is None or not hasattr(meta, "shape"):
        return 0
    try:
        return int(np.prod([int(s) for s in meta.shape])) * int(meta.dtype.itemsize)
    except (TypeError, ValueError):  # a size that depends on the input
        return 0


def _moved(node: Any) -> int:
    """Bytes of a node's arguments and result."""

    def walk(value: Any) -> int:
        if isinstance(value, (list, tuple)):
            return sum(map(walk, value))
        return _bytes(value.meta.get("val")) if hasattr(value, "meta") else 0

    return walk(list(node.args)) + _bytes(node.meta.get("val"))


def steps(model: Any, inputs: list[Any], runs: int = 30) -> list[dict[str, Any]]:
    """The steps of a compiled model with the least seconds of some runs, and the bytes they move."""
    nodes = {n.name: n for n in model.graph.nodes}
    timed = [model.steps(*inputs, repeats=1) for _ in range(runs)]
    rows = timed[0]
    for i, row in enumerate(rows):
        row["seconds"] = min(run[i]["seconds"] for run in timed)
        node = nodes.get(row["node"])
        row["bytes"] = _moved(node) if node is not None else 0
    return rows


def _rate(row: dict[str, Any], limits: dict[str, Any]) -> float:
    integers = row["op"].startswith(("pt2q.q", "pt2q.attention_int8")) and row["op"] != "pt2q.qattention.default"  # fmt: skip
    half = "bfloat16" in row["dtype"] or row["kernel"].endswith("bf16")
    kind = "int8" if integers else "bf16" if half else "float32"
    return 1e9 * float(limits.get(f"{kind}_gops", limits["float32_gops"]))


def _bandwidth(size: int, limits: dict[str, Any]) -> tuple[str, float]:
    for level in ("l2", "l3"):
        own = limits["threads"] if level == "l2" else 1  # each core has its own second-level cache
        if size <= own * limits[f"{level}_bytes"]:
            return level, 1e9 * float(limits[f"{level}_gbs"])
    return "dram", 1e9 * float(limits["dram_gbs"])


def bound(rows: list[dict[str, Any]], limits: dict[str, Any]) -> list[dict[str, Any]]:
    """Adds ``bound`` (seconds) and ``binds`` (what limits the step) to every row."""
    for row in rows:
        level, bandwidth = _bandwidth(row["bytes"], limits)
        arithmetic, moving = row["flops"] / _rate(row, limits), row["bytes"] / bandwidth
        row["bound"] = max(arithmetic, moving)
        row["binds"] = "arithmetic" if arithmetic >= moving else level
    return rows


def table(rows: list[dict[str, Any]], count: int = 12) -> str:
    """Markdown: the steps with the most time above their bound."""
    import report

    total, least = sum(r["seconds"] for r in rows), sum(r["bound"] for r in rows)
    heads = ["node", "kernel", "us", "share %", "GOP/s", "GB/s", "bound us", "% of bound", "binds"]
    lines = []
    for r in sorted(rows, key=lambda r: r["bound"] - r["seconds"])[:count]:
        us = 1e6 * max(r["seconds"], 1e-9)
        lines.append([r["node"] or r["op"], r["kernel"], f"{us:.1f}", f"{100 * r['seconds'] / total:.1f}",
                      f"{r['flops'] / us / 1e3:.0f}", f"{r['bytes'] / us / 1e3:.1f}", f"{1e6 * r['bound']:.1f}",
                      f"{1e8 * r['bound'] / us:.0f}", r["binds"]])  # fmt: skip
    head = f"{1e3 * total:.3f} ms in {len(rows)} steps; bound {1e3 * least:.3f} ms ({100 * least / total:.0f} %)\n\n"
    return head + report.table(heads, lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("case")
    parser.add_argument("variant", nargs="?", default="int8", choices=("float32", "int8", "int8_bf16"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--count", type=int, default=12, help="steps shown")
    parser.add_argument("--work", type=pathlib.Path, default=WORK)
    args = parser.parse_args()
    import report
    from contenders import ours
    from prepare import ensure
    from workloads import Case

    limits = report.limits(args.threads)
    if not limits:
        raise SystemExit("the machine's limits are unknown: run `make bench-cpp` first")
    case = Case.parse(args.case)
    work = args.work.resolve()
    artifact = "pt2q_float32" if args.variant == "float32" else "pt2q_int8"
    ensure(case, artifact, work, sys.stderr)
    loaded = ours.load(args.variant, case, case.folder(work), args.threads)
    loaded.call()
    print(table(bound(loaded.steps(args.runs), limits), args.count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
