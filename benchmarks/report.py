"""What every benchmark reports with: machine facts, versions, limits of the machine, tables, plots."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

from places import PEAK

FORMAT = 1  # of the JSON files; compare.py reads no other
LIBRARIES = ("torch", "torchao", "onnxruntime", "onnx", "openvino", "nncf", "numpy")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    import pt2q

    return {"pt2q": pt2q.__version__, **found}


def machine(threads: int) -> dict[str, Any]:
    """CPU, instruction sets, date."""
    import pt2q

    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in info[:30] if ":" in line)
    named = {k.strip(): v.strip() for k, v in facts.items()}
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "cpu": f"{named.get('model name', '?')}, family {named.get('cpu family')} model {named.get('model')}",
        "cpus": os.cpu_count(),
        "threads": threads,
        **pt2q.cpu_info(),
    }


def limits(threads: int) -> dict[str, float]:
    """What the machine can do at most, measured by benchmarks/cpp/peak.cpp; {} where it is not built."""
    if not PEAK.exists():
        return {}
    text = subprocess.run([str(PEAK), str(threads)], capture_output=True, text=True, check=True).stdout  # fmt: skip
    return json.loads(text)  # type: ignore[no-any-return]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def bars(groups: dict[str, dict[str, float]], unit: str, title: str, path: pathlib.Path) -> None:
    """One bar chart per group; pt2q's bars stand out. Without matplotlib nothing is drawn."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(4, len(groups))
    lines = -(-len(groups) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4 * columns, 3.2 * lines), squeeze=False)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis, (name, numbers) in zip(axes.flat, groups.items()):
        names = sorted(numbers, key=lambda n: numbers[n])
        axis.barh(names, [numbers[n] for n in names], color=["C1" if n.startswith("pt2q") else "C0" for n in names])  # fmt: skip
        axis.invert_yaxis()
        axis.tick_params(labelsize=7)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel(unit, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write(folder: pathlib.Path, name: str, report: dict[str, Any], text: str) -> None:
    """The report as JSON, in the format that compare.py reads, and as text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"format": FORMAT, **report}, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text)
