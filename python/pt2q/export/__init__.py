"""Capturing models as graphs: ``export``, ``Dim``, ``ExportedProgram``, ``save`` and ``load``."""

from __future__ import annotations

from typing import Any

from pt2q.export._dynamic import Dim, ValueRange, dims
from pt2q.export._export import export, export_for_training
from pt2q.export.exported_program import ExportedProgram, ExportGraphSignature

__all__ = [
    "Dim",
    "ExportGraphSignature",
    "ExportedProgram",
    "ValueRange",
    "dims",
    "export",
    "export_for_training",
    "load",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in ("save", "load"):
        from pt2q.export import _serialize

        return getattr(_serialize, name)
    raise AttributeError(f"module 'pt2q.export' has no attribute '{name}'")
