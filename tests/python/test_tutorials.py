"""The notebooks are made from their scripts, and every one runs in a fresh interpreter."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))


def test_notebooks_are_up_to_date():
    assert NOTEBOOKS
    done = subprocess.run([sys.executable, ROOT / "tools" / "make_notebooks.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, tmp_path):
    pytest.importorskip("matplotlib", reason="NO MATPLOTLIB: the tutorials were not run")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    script = tmp_path / "cells.py"
    script.write_text("\n\n".join(code), encoding="utf-8")
    (tmp_path / "digits.py").symlink_to(ROOT / "tutorials" / "digits.py")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", script], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    pictures = [p for p in tmp_path.glob("*.png") if p.stat().st_size > 2000]
    assert pictures, "no picture was drawn"
