#!/usr/bin/env python3
"""Checks which folder of csrc includes which: each layer may use only itself and those before it."""

from __future__ import annotations

import pathlib
import re
import sys

LAYERS = ["base", "kernels", "tensor", "ir", "ops", "observers", "quantizers", "passes", "onednn", "io", "bindings"]
# Third-party headers and the only layer (or None: nobody but sources) that may include them.
THIRD_PARTY = {"dnnl": {"onednn"}, "pybind11": {"bindings"}, "hwy": {"kernels"}, "nlohmann": {"io", "onednn", "observers"}, "zlib": {"base"}}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)


def problems(root: pathlib.Path) -> list[str]:
    found = []
    for path in sorted((root / "csrc").rglob("*")):
        if path.suffix not in (".h", ".cpp"):
            continue
        layer = path.relative_to(root / "csrc").parts[0]
        for _, target in INCLUDE.findall(path.read_text(encoding="utf-8")):
            top = target.split("/")[0].split(".")[0]
            where = f"{path.relative_to(root)}: includes {target}"
            for name, allowed in THIRD_PARTY.items():
                if top == name and layer not in allowed:
                    found.append(f"{where}: only {', '.join(sorted(allowed))} may")
            if layer == "include":
                if top in LAYERS:
                    found.append(f"{where}: a public header must not include internal ones")
            elif top in LAYERS and layer in LAYERS and LAYERS.index(top) > LAYERS.index(layer):
                found.append(f"{where}: layer '{layer}' stands before '{top}'")
    return found


def main() -> int:
    found = problems(pathlib.Path(__file__).resolve().parent.parent)
    print("\n".join(found) if found else "layers: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
