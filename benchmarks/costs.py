#!/usr/bin/env python3
"""What using pt2q costs once: import, export, prepare, convert, compile, file size. Prints JSON.

    costs.py CASE FOLDER     FOLDER holds the case's artifacts (see prepare.py)
"""

from __future__ import annotations

import json
import pathlib
import resource
import subprocess
import sys
import time
from typing import Any

from workloads import Case, x86_prepared

_IMPORT = """
import time; start = time.perf_counter(); import pt2q; seconds = time.perf_counter() - start
import resource; print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def import_cost(repeats: int = 5) -> dict[str, float]:
    """Seconds and peak memory of ``import pt2q`` in a fresh process (least of some), and whether it prints."""
    runs = [subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True) for _ in range(repeats)]  # fmt: skip
    numbers = [tuple(map(float, r.stdout.splitlines()[-1].split())) for r in runs]
    prints = any(len(r.stdout.splitlines()) > 1 or r.stderr for r in runs)
    return {"import_s": min(n[0] for n in numbers), "import_mb": min(n[1] for n in numbers), "prints": float(prints)}  # fmt: skip


def measure(case: Case, folder: pathlib.Path) -> dict[str, float]:
    """Seconds of each step of the flow on one case, and the size of the quantized file over the float one."""
    import prepare
    import pt2q.export
    from pt2q.ao.quantization.quantize_pt2e import convert_pt2e
    from pt2q.ao.quantization.quantizer import x86_inductor_quantizer  # noqa: F401  before the clock runs

    costs: dict[str, float] = {}

    def timed(name: str, function: Any, *args: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*args)
        costs[f"{name}_s"] = time.perf_counter() - wall
        costs[f"{name}_cpu_s"] = time.process_time() - cpu
        return result

    x = prepare.load_inputs(folder)
    exported = timed("export", prepare._pt2q_exported, case, folder)
    prepared = timed("prepare", x86_prepared, exported.module())
    timed("calibrate", prepared, *x)
    converted = timed("convert", convert_pt2e, prepared)
    compiled = timed("compile", pt2q.compile, converted)
    timed("first_call", compiled, *x)
    timed("call", compiled, *x)
    saved = pt2q.export.export(converted, tuple(map(pt2q.from_numpy, x)))
    sizes = []
    for name, program in (("float32", exported), ("int8", saved)):
        file = folder / f"costs_{name}.pt2"
        timed(f"save_{name}", pt2q.export.save, program, file)
        sizes.append(file.stat().st_size)
        file.unlink()
    costs["file_ratio"] = sizes[1] / sizes[0]
    costs["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return costs


def least(case: Case, folder: pathlib.Path, repeats: int = 3) -> dict[str, float]:
    """The least of some runs, each in a fresh process."""
    command = [sys.executable, __file__, str(case), str(folder)]
    runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(repeats)]  # fmt: skip
    return {name: min(run[name] for run in runs) for name in runs[0]}


if __name__ == "__main__":
    print(json.dumps(measure(Case.parse(sys.argv[1]), pathlib.Path(sys.argv[2]))))
