"""python/pt2q/_core.pyi says what the compiled module has."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_stub_is_up_to_date():
    pybind11 = pytest.importorskip("pybind11")
    if pybind11.version_info[0] < 3:
        pytest.skip("signatures are spelled as pybind11 3 spells them")
    tool = [sys.executable, ROOT / "tools/make_stubs.py", "--check"]
    done = subprocess.run(tool, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_stub_has_the_types_that_users_see():
    text = (ROOT / "python/pt2q/_core.pyi").read_text()
    for line in (
        "class Tensor",
        "class GraphModule",
        "    def numel(self) -> builtins.int: ...",
        "    def explain(self, *args: Any) -> builtins.str: ...",
        "def isa_name() -> builtins.str: ...",
        "class ValueError(Error, builtins.ValueError): ...",
    ):
        assert line in text
