"""Every name of docs/migration.md exists, and the page knows every name the tutorials mention."""

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


# The names the documents import modules under.
ALIASES = {
    "F": "torch.nn.functional",
    "datasets": "torchvision.datasets",
    "ipex": "intel_extension_for_pytorch",
    "models": "torchvision.models",
    "nn": "torch.nn",
    "transforms": "torchvision.transforms",
    "xiq": "torch.ao.quantization.quantizer.x86_inductor_quantizer",
    "xpuiq": "torch.ao.quantization.quantizer.xpu_inductor_quantizer",
}


def names_in(text: str) -> set[str]:
    """Everything a document imports or mentions with a dotted name, in code and in prose."""
    text = re.sub(r"https?://\S+", "", text)
    found = set(re.findall(r"^\s*import (torch[\w.]*|intel_\w+)", text, re.MULTILINE))
    for module, names in re.findall(r"^\s*from (torch[\w.]*) import (\([^)]*\)|[\w, ]+)$", text, re.MULTILINE):
        found |= {f"{module}.{name}" for name in re.findall(r"\w+", names)}
    found |= set(re.findall(r"(?<![\w.])((?:torch|torchvision|intel_extension_for_pytorch)(?:\.\w+)+)", text))
    for alias, module in ALIASES.items():
        found |= {module + rest for rest in re.findall(rf"(?<![\w.]){alias}((?:\.\w+)+)", text)}
    return found


@pytest.mark.skipif(not (documents.SHARED / "seeds").is_dir(), reason="NO SOURCE DOCUMENTS: names not compared")
@pytest.mark.parametrize("number", ["000", "001", "002", "003", "004"])
def test_no_name_is_missing(number):
    names = names_in(documents.document(number))
    assert len(names) > 3 and not names - ROWS.keys()
