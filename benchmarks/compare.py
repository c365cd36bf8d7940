#!/usr/bin/env python3
"""Two results of one benchmark, number by number: ``compare.py OLD.json NEW.json``.

Takes the JSON files in benchmarks/results (format 1 of report.write; programs that only print have none).
Times and memory are compared, by the last word of their names: ms, us, s or mb, but not rates as
items_per_s. Below 1 the new one is smaller, which is better. Results of different machines, or with
another number of threads, say little and are refused without --any-machine.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from report import FORMAT, table

UNITS = ("ms", "us", "s", "mb")
SAME = ("cpu", "isa", "threads")  # of the machine


def is_cost(name: str) -> bool:
    """Whether smaller is better: a time or a size, no rate and no count."""
    *others, unit = name.split("_")
    return unit in UNITS and others[-1:] != ["per"]


def numbers(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """(path, number) of all that is compared; items of lists are known by their "case"."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in ("machine", "versions", "limits", "roofline"):
                yield from numbers(item, (*path, str(name)))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict) and "case" in item:
                yield from numbers(item, (*path, str(item["case"])))
    elif isinstance(value, (int, float)) and path and (is_cost(path[-1]) or "us" in path):
        yield " ".join(p for p in path if p not in ("rows", "contenders", "variants")), float(value)


def read(path: pathlib.Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    if report.get("format") != FORMAT:
        raise SystemExit(f"{path}: format {report.get('format')}, expected {FORMAT}")
    return report


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, float, float, float]]:
    """(name, old, new, new / old), most improved first; only what both have."""
    before = dict(numbers(old))
    both = [(name, before[name], value) for name, value in numbers(new) if before.get(name, 0) > 0]
    return sorted(((n, a, b, b / a) for n, a, b in both), key=lambda row: row[3])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("old", type=pathlib.Path)
    parser.add_argument("new", type=pathlib.Path)
    parser.add_argument("--only", default="", help="part of the name")
    parser.add_argument("--any-machine", action="store_true")
    args = parser.parse_args()
    old, new = read(args.old), read(args.new)
    differing = [k for k in SAME if old["machine"].get(k) != new["machine"].get(k)]
    if differing and not args.any_machine:
        raise SystemExit("results of different machines: " + ", ".join(f"{k} {old['machine'].get(k)} and {new['machine'].get(k)}" for k in differing))  # fmt: skip
    rows = [r for r in compare(old, new) if args.only in r[0]]
    print(table(["what", "old", "new", "new / old"], [[n, f"{a:.3f}", f"{b:.3f}", f"{r:.2f}"] for n, a, b, r in rows]))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
