"""Where things are. Importing this makes the pt2q of the build tree importable: no PYTHONPATH is needed."""

from __future__ import annotations

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BUILT = ROOT / "build" / "release"
PEAK = BUILT / "benchmarks" / "cpp" / "peak"  # measures what the machine can do at most
WORK = ROOT / "build" / "bench"  # artifacts
RESULTS = HERE / "results"

sys.path.insert(0, str(BUILT / "python"))
