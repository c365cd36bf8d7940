"""Reads the code blocks of the source documents and renames their imports."""

from __future__ import annotations

import os
import pathlib
import re
import textwrap

SHARED = pathlib.Path(os.environ.get("PT2Q_SHARED", pathlib.Path(__file__).resolve().parents[3] / "shared"))

_TABLE_LINE = re.compile(r"^\| \d+ \| \+?(.*) \|$")
_RST_CODE = re.compile(r"^\s*\.\. code(-block)?:: python\s*$")


def document(number: str) -> str:
    """The text of one source document; the path is shared/seeds/<number>_*.txt."""
    (path,) = sorted((SHARED / "seeds").glob(f"{number}_*.txt"))
    lines = path.read_text(encoding="utf-8").splitlines()
    table = [_TABLE_LINE.match(line) for line in lines]
    if sum(m is not None for m in table) > len(lines) // 2:  # kept as a numbered diff
        return "\n".join(m.group(1).rstrip() for m in table if m is not None)
    return "\n".join(lines)


def _is_code_head(line: str) -> bool:
    return bool(_RST_CODE.match(line)) or line.strip() == "::"


def code_blocks(text: str) -> list[str]:
    """Indented blocks after ``::`` or ``.. code:: python``, and fenced blocks of Python or no language."""
    blocks = []
    lines = text.splitlines()
    i = 0
    while i < len(lines):
        if lines[i].startswith("```"):
            end = next(j for j in range(i + 1, len(lines)) if lines[j].strip() == "```")
            if lines[i].strip() in ("```", "```python"):
                blocks.append("\n".join(lines[i + 1 : end]))
            i = end
        elif _is_code_head(lines[i]):
            head = len(lines[i]) - len(lines[i].lstrip())
            j = i + 1
            while j < len(lines) and (not lines[j].strip() or len(lines[j]) - len(lines[j].lstrip()) > head):
                j += 1
            blocks.append("\n".join(lines[i + 1 : j]))
            i = j - 1
        i += 1
    return [textwrap.dedent(b).strip("\n") for b in blocks]


def rename_imports(code: str) -> str:
    """Replaces torch by pt2q, torchvision by pt2q.vision and intel_extension_for_pytorch by pt2q.ipex, in
    import statements only."""
    out = []
    for line in code.splitlines():
        if re.match(r"^\s*(import|from)\s", line):
            line = re.sub(r"^(\s*)import torch\s*$", r"\1import pt2q as torch", line)
            line = re.sub(r"^(\s*)import torchvision\s*$", r"\1import pt2q.vision as torchvision", line)
            line = re.sub(r"\btorchvision\b(?=[. ])(?!\s*$)", "pt2q.vision", line) if " as torchvision" not in line else line
            line = re.sub(r"\bintel_extension_for_pytorch\b", "pt2q.ipex", line)
            line = re.sub(r"\btorch\.", "pt2q.", line)
            line = re.sub(r"^(\s*)from torch import", r"\1from pt2q import", line)
        out.append(line)
    return "\n".join(out)
