#!/usr/bin/env python3
"""Checks the public C++ headers: what they include, that every class says how threads may use it, and,
where doxygen is installed, that the API pages are made without a warning."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

INCLUDE = re.compile(r"^\s*#\s*include\s+(.*)", re.MULTILINE)
ALLOWED = re.compile(r'<[a-z_0-9]+>|"pt2q/[a-z_0-9]+\.h"')
FOREIGN = re.compile(r"\b(dnnl|nlohmann|pybind11|py|hwy|benchmark|testing)::|\bomp_\w+\(")
CLASS = re.compile(r"((?:^//.*\n)*)(?:^template.*\n)?^class (\w+)(?:[^;{()]*?: public (\w+))?[^;{()]*\{", re.MULTILINE)
# Classes without a member that changes them.
CONSTANT = {"Args"}
# How a comment says it; on top of a file it holds for all classes of the file.
STATED = re.compile(r"thread|immutable|read-only|copies are independent", re.IGNORECASE)


def without_statement(headers: list[pathlib.Path]) -> dict[str, set[str]]:
    """By header: the classes that neither state it nor derive from one of ours that does."""
    bases: dict[str, str] = {}
    stated, by_header = set(), {}
    for header in headers:
        text = header.read_text(encoding="utf-8")
        top = re.match(r"(?://.*\n)*", text)
        for comment, name, base in CLASS.findall(text):
            by_header.setdefault(header.name, set()).add(name)
            bases[name] = base
            if STATED.search(comment) or (top is not None and STATED.search(top.group(0))):
                stated.add(name)
    while grown := {name for name, base in bases.items() if base in stated} - stated:
        stated |= grown
    return {header: names - stated - CONSTANT for header, names in by_header.items()}


def problems(header: pathlib.Path) -> list[str]:
    text = header.read_text(encoding="utf-8")
    found = [f"includes {what}" for what in INCLUDE.findall(text) if not ALLOWED.fullmatch(what)]
    code = re.sub(r"//.*", "", text)
    found += [f"names {m.group(0)}, which is no type of ours" for m in FOREIGN.finditer(code)]
    return [f"{header.name}: {what}" for what in found]


def doxygen_warnings(root: pathlib.Path) -> list[str]:
    if shutil.which("doxygen") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        settings = (root / "docs" / "Doxyfile").read_text(encoding="utf-8")
        done = subprocess.run(
            ["doxygen", "-"], input=f"{settings}\nOUTPUT_DIRECTORY = {folder}\n", cwd=root, capture_output=True, text=True
        )
    lines = done.stderr.strip().splitlines()
    return lines if done.returncode == 0 else [*lines, f"doxygen ended with {done.returncode}"]


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    headers = sorted((root / "csrc" / "include").rglob("*.h"))
    found = [p for header in headers for p in problems(header)]
    for header, names in without_statement(headers).items():
        found += [f"{header}: class {n}: say in its comment how threads may use it" for n in sorted(names)]
    found += doxygen_warnings(root)
    print("\n".join(found) if found else "headers: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
