"""Every PyTorch name that documents 001 and 002 use exists in pt2q and takes the same arguments."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))

import documents

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not documents.SHARED.exists(), reason=f"{documents.SHARED} is absent: the documents are not part of the repository"),
]  # fmt: skip

# Paths that PyTorch has moved since the documents were written.
MOVED = (
    ("torch.ao.quantization.quantize_pt2e", "torchao.quantization.pt2e.quantize_pt2e"),
    ("torch.ao.quantization.quantizer.xnnpack_quantizer", "torchao.testing.pt2e._xnnpack_quantizer"),
    ("torch.ao.quantization.quantizer", "torchao.quantization.pt2e.quantizer"),
)
# Names the documents use that no release of PyTorch 2.13 or torchao 0.18 has: existence only.
GONE = {"torch._export.capture_pre_autograd_graph", "torch.export.export_for_training"}
# Parameters about Dynamo and its guards, which have no counterpart; the documents do not use them.
NOT_TAKEN = {
    "torch.compile": {"name", "recompile_limit", "isolate_recompiles", "shapes_spec"},
    "torch.export.export": {"prefer_deferred_runtime_asserts_over_guards"},
}


class Names(ast.NodeVisitor):
    """Dotted names below torch and torchvision, import aliases resolved."""

    def __init__(self) -> None:
        self.alias: dict[str, str] = {}
        self.found: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        for a in node.names:
            self.alias[a.asname or a.name.split(".")[0]] = a.name if a.asname else a.name.split(".")[0]
            self.note(a.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for a in node.names:
            full = f"{node.module}.{a.name}"
            self.alias[a.asname or a.name] = full
            self.note(full)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = []
        at: ast.expr = node
        while isinstance(at, ast.Attribute):
            parts.append(at.attr)
            at = at.value
        if isinstance(at, ast.Name) and at.id in self.alias:
            self.note(".".join([self.alias[at.id], *reversed(parts)]))
        self.generic_visit(node)

    def note(self, name: str) -> None:
        if name.split(".")[0] in ("torch", "torchvision") and "." in name:
            self.found.add(name)


def parsed(block: str) -> ast.Module | None:
    """A block's syntax tree; code cut off at its start or end is parsed without it."""
    lines = [line for line in block.splitlines() if not line.lstrip().startswith((">>>", "%", "!"))]
    for end in range(len(lines), 0, -1):
        try:
            return ast.parse("\n".join(lines[:end]))
        except SyntaxError:
            continue
    return None


@functools.cache
def used_names() -> tuple[str, ...]:
    visitor = Names()
    for number in ("001", "002"):
        for block in documents.code_blocks(documents.document(number)):
            tree = parsed(block)
            if tree is not None:
                visitor.visit(tree)
    return tuple(sorted(visitor.found))


def lookup(name: str) -> Any:
    """The object of a dotted name: the longest importable prefix, then attributes."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for attribute in parts[cut:]:
            value = getattr(value, attribute)
        return value
    raise ImportError(name)


def ours(name: str) -> Any:
    return lookup(re.sub(r"^torchvision\b", "pt2q.vision", re.sub(r"^torch\b", "pt2q", name)))


def parameters(function: Any) -> list[str] | None:
    """Names of the parameters; of the core's functions from the first line of their docstring."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        text = (function.__init__ if inspect.isclass(function) else function).__doc__ or ""
        head = re.match(r"\w+\((.*)\)(?: ->|$)", text.splitlines()[0] if text else "")
        if head is None:
            return None
        names = re.findall(r"(?:^|, )(\*{0,2}\w+)(?=[:=,]|$)", re.sub(r"\[[^\]]*\]", "", head.group(1)))
        return [n for n in names if n != "self"]
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [stars.get(p.kind, "") + p.name for p in found if p.name != "self"]


def test_the_documents_are_read() -> None:
    names = used_names()
    assert len(names) > 30
    for expected in (
        "torch.ao.quantization.quantize_pt2e.prepare_pt2e",
        "torch.ao.quantization.quantizer.x86_inductor_quantizer",
        "torch.utils.data.DataLoader",
        "torch.compile",
    ):
        assert expected in names


def test_names_exist() -> None:
    missing = []
    for name in used_names():
        try:
            ours(name)
        except (ImportError, AttributeError):
            missing.append(name)
    assert missing == []


def test_signatures_are_compatible() -> None:
    """What may be passed by position or keyword in PyTorch may be passed here."""
    compared, wrong = [], {}
    for name in used_names():
        if name in GONE or name.startswith("torchvision"):
            continue  # torchvision is no part of the oracle's environment
        moved = next((name.replace(old, new, 1) for old, new in MOVED if name.startswith(old)), name)
        theirs, mine = lookup(moved), ours(name)
        if not callable(theirs) or not callable(mine):
            continue
        want, got = parameters(theirs), parameters(mine)
        if want is None or got is None:
            continue
        compared.append(name)
        takes_all = any(p.startswith("**") for p in got)
        public = [p for p in want if not p.startswith(("_", "*")) and p not in NOT_TAKEN.get(name, ())]
        lacking = [p for p in public if p not in got and not takes_all]
        order = [p for p in got if p in public]
        if lacking or order != [p for p in public if p in order]:
            wrong[name] = {"PyTorch": want, "pt2q": got}
    assert len(compared) >= 15
    assert wrong == {}
