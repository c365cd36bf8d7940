#!/usr/bin/env python3
"""Checks docs/peer_checks.md: every test it names exists, and at least 90 % of its rows name one.

Rows are `| check | test here |`. A test is `python/FILE.py::NAME`, `oracle/FILE.py::NAME`, `cases/PATH` (all
below tests/) or `cpp Suite.Name`; a row without a test gives its reason after a dash.
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = 0.90


@functools.cache
def python_tests(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M))


@functools.cache
def cpp_tests() -> frozenset[str]:
    found = set()
    for path in (ROOT / "tests/cpp").glob("*.cpp"):
        for suite, name in re.findall(r"^TEST(?:_[FP])?\((\w+),\s*(\w+)\)", path.read_text(), re.M):
            found.add(f"{suite}.{name}")
    return frozenset(found)


def exists(test: str) -> bool:
    if test.startswith("cpp "):
        return test[4:] in cpp_tests()
    file, _, name = test.partition("::")
    path = ROOT / "tests" / file
    return path.is_file() and (not name or name in python_tests(path))


def check(text: str) -> tuple[int, int, list[str]]:
    """(rows, covered rows, problems) of a page."""
    rows = covered = 0
    problems = []
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 2 or cells[0] == "check" or set(line) <= set("|-"):
            continue
        rows += 1
        tests = re.findall(r"`([^`]+)`", cells[1])
        problems += [f"'{cells[0]}': no test {t}" for t in tests if not exists(t)]
        if tests:
            covered += 1
        elif not re.fullmatch(r"— \S.{10,}", cells[1]):
            problems.append(f"'{cells[0]}': neither a test nor a reason")
    if rows == 0 or covered < NEEDED * rows:
        problems.append(f"{covered} of {rows} rows are covered; {NEEDED:.0%} are needed")
    return rows, covered, problems


def main() -> int:
    rows, covered, problems = check((ROOT / "docs/peer_checks.md").read_text(encoding="utf-8"))
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"peer checks: {covered} of {rows} covered ({covered / max(rows, 1):.0%})")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
