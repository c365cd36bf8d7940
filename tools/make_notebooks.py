"""Makes tutorials/*.ipynb from the .py files beside them; --check says whether they are up to date.

Cells start with "# %%" (code) or "# %% [markdown]" (comment lines). Notebooks are committed without
outputs: the tests run them.
"""

from __future__ import annotations

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "tutorials"


def cells(source: str) -> list[dict]:
    out = []
    for part in source.split("# %%")[1:]:
        head, _, body = part.partition("\n")
        markdown = head.strip() == "[markdown]"
        lines = body.strip("\n").split("\n")
        if markdown:
            lines = [line[2:] if line.startswith("# ") else line.lstrip("#") for line in lines if line.startswith("#")]
        cell: dict = {
            "cell_type": "markdown" if markdown else "code",
            "id": f"cell{len(out)}",
            "metadata": {},
            "source": [line + "\n" for line in lines[:-1]] + lines[-1:],
        }
        if not markdown:
            cell.update(execution_count=None, outputs=[])
        out.append(cell)
    return out


def notebook(source: str) -> str:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells(source), "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    stale = []
    for script in sorted(FOLDER.glob("[0-9]*.py")):
        text, target = notebook(script.read_text(encoding="utf-8")), script.with_suffix(".ipynb")
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        stale.append(target.name)
        if "--check" not in sys.argv[1:]:
            target.write_text(text, encoding="utf-8")
    if stale:
        print(("out of date, run tools/make_notebooks.py: " if "--check" in sys.argv else "written: ") + ", ".join(stale))
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
