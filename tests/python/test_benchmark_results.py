"""benchmarks/compare.py: what it takes for a number, and what it refuses; and that every program starts."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
OLD = {
    "format": 1,
    "machine": {"cpu": "a cpu", "isa": "AVX2", "threads": 2},
    "limits": {"peak_ms": 3.0},
    "rows": [
        {"case": "net:1", "contenders": {"pt2q": {"ms": 4.0, "calls": 9, "peak_mb": 80.0, "streams": 2, "load_s": 0.5}, "gone": {"ms": 1.0}}},
        {"case": "net:8", "contenders": {"pt2q": {"ms": 10.0}}},
    ],
    "sts": {"pt2q": {"tokens_per_s": 900.0, "items_per_s": 9.0, "spearman": 82.0}},
    "ops": {"aten.relu.default": {"us": {"pt2q": 2.0}}},
}


def compare(tmp_path, new, *options):
    for name, report in (("old", OLD), ("new", new)):
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    command = [sys.executable, FOLDER / "compare.py", tmp_path / "old.json", tmp_path / "new.json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def changed(**machine):
    new = json.loads(json.dumps(OLD))
    new["machine"].update(machine)
    new["rows"][0]["contenders"] = {"pt2q": {"ms": 2.0, "calls": 1, "peak_mb": 88.0, "streams": 4, "load_s": 1.0}}
    new["sts"] = {"pt2q": {"tokens_per_s": 1800.0, "items_per_s": 18.0, "spearman": 81.0}}
    return new


def test_numbers_of_both_are_compared_by_name(tmp_path):
    code, out, _ = compare(tmp_path, changed())
    assert code == 0
    rows = [line.strip("| ").split(" | ") for line in out.strip().splitlines()[2:]]
    assert rows == [
        ["net:1 pt2q ms", "4.000", "2.000", "0.50"],
        ["net:8 pt2q ms", "10.000", "10.000", "1.00"],
        ["ops aten.relu.default us pt2q", "2.000", "2.000", "1.00"],
        ["net:1 pt2q peak_mb", "80.000", "88.000", "1.10"],
        ["net:1 pt2q load_s", "0.500", "1.000", "2.00"],
    ]  # neither rates, of which more is better, nor counts


def test_other_machines_and_formats_are_refused(tmp_path):
    code, _, error = compare(tmp_path, changed(isa="AMX"))
    assert code != 0 and "results of different machines: isa AVX2 and AMX" in error
    assert compare(tmp_path, changed(isa="AMX"), "--any-machine")[0] == 0
    code, _, error = compare(tmp_path, {**changed(), "format": 2})
    assert code != 0 and "format 2, expected 1" in error


PROGRAMS = sorted(p.stem for p in FOLDER.glob("*.py") if "def main() -> " in p.read_text() and "add_argument" in p.read_text())


@pytest.mark.skipif(
    not (FOLDER.parent / "build/release/python/pt2q").is_dir(), reason="NO RELEASE BUILD: benchmarks were not started"
)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_what_it_does(program, tmp_path):
    """Without PYTHONPATH and without the libraries it compares with; nothing is installed or measured."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, FOLDER / f"{program}.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:") and "--" in done.stdout
    assert not list(tmp_path.iterdir())
