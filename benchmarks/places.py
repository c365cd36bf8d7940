"""Where things are. Importing this makes the pt2q of the build tree the one that this process and those it
starts import: no PYTHONPATH is needed."""

from __future__ import annotations

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ROOT / "build" / "release"
PEAK = BUILT / "benchmarks" / "cpp" / "peak"  # measures what the machine can do at most
WORK = ROOT / "build" / "bench"  # artifacts
RESULTS = HERE / "results"

_PYTHON = str(BUILT / "python")
_others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p not in ("", _PYTHON)]
os.environ["PYTHONPATH"] = os.pathsep.join([_PYTHON, *_others])
sys.path.insert(0, _PYTHON)
