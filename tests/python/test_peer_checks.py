"""docs/peer_checks.md names tests that exist, and the script that says so notices when they do not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "check_peer_checks.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_peer_checks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(*rows):
    return "\n".join(["| check | test here |", "|---|---|", *rows])


def test_the_page_is_true(script):
    assert script.main() == 0


def test_good_rows(script):
    good = "| a | `python/test_peer_checks.py::test_good_rows`, `cpp ModuleNames.PatternsMatchWholePaths` |"
    golden = "| b | `cases/rewrites/fold_quantize_weights_only.txt` |"
    assert script.check(page(good, golden)) == (2, 2, [])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("| a | `python/test_peer_checks.py::test_nothing` |", "'a': no test"),
        ("| a | `python/test_absent.py::test_x` |", "'a': no test"),
        ("| a | `cpp ModuleNames.Nothing` |", "'a': no test"),
        ("| a | `cases/rewrites/absent.txt` |", "'a': no test"),
        ("| a | — |", "'a': neither a test nor a reason"),
        ("| a | |", "'a': neither a test nor a reason"),
    ],
)
def test_bad_rows(script, row, problem):
    assert any(p.startswith(problem) for p in script.check(page(row))[2])


def test_too_few_covered_rows(script):
    good = "| a | `cases/rewrites/fold_quantize_weights_only.txt` |"
    reason = "| b | — nobody needs this behaviour |"
    assert script.check(page(*[good] * 9, reason))[2] == []
    assert script.check(page(*[good] * 8, reason))[2] == ["8 of 9 rows are covered; 90% are needed"]
