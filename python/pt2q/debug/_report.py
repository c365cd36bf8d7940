"""Layers of a model sorted by how far quantization moves their outputs."""

from __future__ import annotations

import copy
import html
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pt2q import _core
from pt2q.ao.quantization.pt2e._numeric_debugger import _graph_module, _innermost


@dataclass(frozen=True)
class LayerAccuracy:
    """One operator of the float model and what became of it, over all batches.

    ``sqnr`` is 20·log10(‖actual‖ / ‖actual - reference‖) in dB (inf: equal), as in ``compare_results``.
    """

    name: str
    module: str  # path of the innermost module, "" at the top
    op: str
    sqnr: float
    mse: float
    max_abs_error: float
    elements: int


@dataclass(frozen=True)
class SqnrReport:
    """What :func:`sqnr_report` found; ``layers`` starts with the worst."""

    layers: tuple[LayerAccuracy, ...]
    batches: int

    def __iter__(self) -> Iterator[LayerAccuracy]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def worst(self, count: int = 1) -> tuple[LayerAccuracy, ...]:
        """The ``count`` layers with the smallest SQNR. To leave one in float:
        ``quantizer.set_module_name_qconfig(layer.module, None)``."""
        return self.layers[:count]

    def to_text(self) -> str:
        """An aligned table."""
        head = ("layer", "module", "operator", "SQNR dB", "MSE", "max |error|")
        rows = [head] + [
            (r.name, r.module, r.op, _decibel(r.sqnr), f"{r.mse:.3g}", f"{r.max_abs_error:.3g}")
            for r in self.layers
        ]
        widths = [max(len(row[c]) for row in rows) for c in range(len(head))]
        lines = []
        for row in rows:
            cells = [
                text.ljust(w) if c < 3 else text.rjust(w)
                for c, (text, w) in enumerate(zip(row, widths))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    __str__ = to_text

    def to_json(self) -> str:
        """A JSON object with ``batches`` and ``layers``; an infinite or undefined SQNR is null."""
        rows = [
            {k: _finite(v) if isinstance(v, float) else v for k, v in asdict(r).items()}
            for r in self.layers
        ]
        return json.dumps({"batches": self.batches, "layers": rows}, indent=1)

    def to_html(self) -> str:
        """A page of its own: a table with one bar per layer, longer for a larger SQNR."""
        top = max((r.sqnr for r in self.layers if math.isfinite(r.sqnr)), default=1.0)
        rows = "\n".join(_html_row(r, top) for r in self.layers)
        return _PAGE.replace("{batches}", str(self.batches)).replace("{rows}", rows)

    def _repr_html_(self) -> str:
        return self.to_html()

    def save(self, path: Any) -> None:
        """Writes the form the suffix names: ``.html``, ``.json``, anything else text."""
        target = Path(path)
        forms = {".html": self.to_html, ".json": self.to_json}
        target.write_text(forms.get(target.suffix, self.to_text)(), encoding="utf-8")


_PAGE = """<!DOCTYPE html>
<meta charset="utf-8"><title>SQNR per layer</title>
<style>
table.sqnr { border-collapse: collapse; font: 13px sans-serif }
table.sqnr td, table.sqnr th { padding: 2px 10px; text-align: left }
table.sqnr td.number { text-align: right; font-variant-numeric: tabular-nums }
table.sqnr div.track { width: 240px; background: #eee }
table.sqnr div.bar { height: 12px; background: #4a7ebb }
</style>
<p>Signal-to-quantization-noise ratio of every layer over {batches} batches, worst first.</p>
<table class="sqnr">
<tr><th>layer</th><th>module</th><th>operator</th><th>SQNR dB</th><th></th><th>MSE</th><th>max |error|</th></tr>
{rows}
</table>
"""


def _html_row(row: LayerAccuracy, top: float) -> str:
    share = 1.0 if row.sqnr == math.inf else row.sqnr / top if top > 0 and math.isfinite(row.sqnr) else 0.0
    width = round(100 * min(max(share, 0.0), 1.0), 1)
    names = "".join(f"<td>{html.escape(text)}</td>" for text in (row.name, row.module, row.op))
    return (
        f'<tr>{names}<td class="number">{_decibel(row.sqnr)}</td>'
        f'<td><div class="track"><div class="bar" style="width:{width}%"></div></div></td>'
        f'<td class="number">{row.mse:.3g}</td><td class="number">{row.max_abs_error:.3g}</td></tr>'
    )


def _decibel(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else str(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class _Layer:
    def __init__(self, reference: Any, actual: Any, op: str) -> None:
        self.reference, self.actual, self.op = reference, actual, op
        self.difference = _core._Difference()

    def take(self) -> None:
        """Adds what both loggers have seen since they were emptied."""
        for actual, reference in zip(self.actual.stats, self.reference.stats):
            try:
                self.difference.add(_core._difference(actual, reference))
            except _core.ValueError as error:
                raise _core.ValueError(
                    f"sqnr_report: ref node {self.reference.node_name} and actual node "
                    f"{self.actual.node_name}: {error}"
                ) from error

    def row(self) -> LayerAccuracy:
        d = self.difference
        stack = self.reference.nn_module_stack
        return LayerAccuracy(
            name=self.reference.node_name,
            module=_innermost(stack) if stack else "",
            op=self.op,
            sqnr=d.sqnr,
            mse=d.mse,
            max_abs_error=d.max_abs,
            elements=d.count,
        )


def _pairs(reference: Any, actual: Any) -> list[_Layer]:
    references = _core._output_loggers(reference)
    actuals = _core._output_loggers(actual)
    ops = {n.name: str(n.target) for n in reference.graph.nodes}
    by_source = {(a._source.name, a._source.graph_id): a for a in actuals}
    found = [(r, by_source.get((r._source.name, r._source.graph_id))) for r in references]
    if all(a is None for _, a in found):  # exported apart: names are what is left
        by_name = {a._source.name: a for a in actuals}
        found = [(r, by_name.get(r._source.name)) for r in references]
    return [_Layer(r, a, ops[r.node_name]) for r, a in found if a is not None]


def _logged(model: Any) -> Any:
    """A copy with loggers, its batch norms folded as quantization folds them."""
    copied = copy.deepcopy(_graph_module(model))
    _core._fold_batch_norms(copied)
    _core._insert_output_loggers(copied)
    return copied


def sqnr_report(float_model: Any, quantized: Any, data: Iterable[Any]) -> SqnrReport:
    """How far each layer of ``quantized`` is from ``float_model`` on ``data``.

    Args:
        float_model: the captured float model (GraphModule or ExportedProgram); batch norms are folded
            in a copy, as quantization does.
        quantized: the same model prepared, converted or compiled; it is not changed.
        data: batches: an array or tensor, or a tuple/list whose first items are the inputs.

    Returns:
        A :class:`SqnrReport`: ``print(report)``, ``report.to_json()``, ``report.save("report.html")``.

    Raises:
        ValueError: ``data`` is empty, or the models have no operator in common.
    """
    reference, actual = (_logged(model) for model in (float_model, quantized))
    layers = _pairs(reference, actual)
    if not layers:
        raise _core.ValueError(
            "sqnr_report: the two models have no operator in common: pass the captured float model "
            "that the quantized one was made from"
        )
    count = len(reference.graph.find_nodes(op="placeholder"))
    loggers = [*_core._output_loggers(reference), *_core._output_loggers(actual)]
    batches = 0
    for batch in data:
        inputs = tuple(batch)[:count] if isinstance(batch, (tuple, list)) else (batch,)
        reference(*inputs)
        actual(*inputs)
        for layer in layers:
            layer.take()
        for logger in loggers:
            logger.clear()
        batches += 1
    if batches == 0:
        raise _core.ValueError("sqnr_report: the data is empty")
    rows = [layer.row() for layer in layers]
    rows.sort(key=lambda r: (math.isnan(r.sqnr), r.sqnr))
    return SqnrReport(tuple(rows), batches)
