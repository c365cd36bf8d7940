"""Capturing models as graphs: ``export``, ``Dim``, ``ExportedProgram``, ``save`` and ``load``."""

from __future__ import annotations

from pt2q import _lazy
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

_FILES = "pt2q.export._serialize"
__getattr__, __dir__ = _lazy.names(globals(), members={"load": _FILES, "save": _FILES})
