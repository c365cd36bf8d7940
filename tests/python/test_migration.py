"""Every name of docs/migration.md exists, and the page knows every import of the tutorials."""

from __future__ import annotations

import importlib
import pathlib
import re

import documents
import pytest

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "migration.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", PAGE, re.MULTILINE))


def resolve(name: str) -> object:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def test_the_page_has_tables():
    assert len(ROWS) > 50


@pytest.mark.parametrize("new", sorted(set(ROWS.values())))
def test_new_name_exists(new):
    assert resolve(new) is not None


@pytest.mark.skipif(not (documents.SHARED / "seeds").is_dir(), reason="NO SOURCE DOCUMENTS: imports not compared")
@pytest.mark.parametrize("number", ["000", "001", "002", "003", "004"])
def test_no_import_is_missing(number):
    text = documents.document(number)
    imported = set(re.findall(r"^\s*import (torch[\w.]*|intel_\w+)", text, re.MULTILINE))
    for module, names in re.findall(r"^\s*from (torch[\w.]*) import (\([^)]*\)|[\w, ]+)$", text, re.MULTILINE):
        imported |= {f"{module}.{name}" for name in re.findall(r"\w+", names)}
    assert imported and not imported - ROWS.keys()
