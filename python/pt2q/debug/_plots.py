"""Pictures of quantization, with matplotlib (the extra ``plot``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pt2q import _core

INTEGER, FLOAT, CHOSEN = "#9ecae1", "#fdd0a2", "#d62728"


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise _core.RuntimeError("pictures need matplotlib", "pip install 'pt2q[plot]'") from error
    return pyplot


def plot_bars(names: Sequence[str], values: Sequence[float], unit: str, title: str = "") -> Any:
    """Horizontal bars, each with its value.

    Args:
        names: one label per bar, from the top.
        values: their lengths; infinite or undefined ones are drawn as nothing.
        unit: what the axis says.
        title: above the bars.

    Returns:
        The matplotlib figure.
    """
    if len(names) != len(values):
        raise _core.ValueError(f"plot_bars: {len(names)} names for {len(values)} values")
    figure, axis = _pyplot().subplots(figsize=(7, 0.9 + 0.27 * len(names)), layout="constrained")
    lengths = [v if math.isfinite(v) else 0.0 for v in values]
    bars = axis.barh(range(len(names)), lengths, height=0.7)
    axis.bar_label(bars, [f"{v:.3g}" for v in values], padding=3, fontsize=8)
    axis.set_yticks(range(len(names)), list(names), fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set(xlabel=unit, title=title)
    return figure


def plot_sqnr(report: Any, count: int = 20) -> Any:
    """The ``count`` worst layers of a :class:`SqnrReport` as bars in dB. Returns the figure."""
    rows = report.worst(count)
    names = [f"{row.module or row.name}  ({row.op.split('.')[1]})" for row in rows]
    title = "Layers farthest from float32" if len(rows) < len(report) else "Layers against float32"
    return plot_bars(names, [row.sqnr for row in rows], "SQNR, dB (6 dB are one bit)", title)


def _histograms(prepared: Any) -> list[tuple[str, Any]]:
    """(observed node, observer) of the observers that keep a histogram, in the order of the graph."""
    found, seen = [], set()
    for node in prepared.graph.nodes:
        if node.op != "call_module" or node.target in seen:
            continue
        observer = getattr(prepared, node.target)
        if hasattr(observer, "histogram") and float(observer.min_val) <= float(observer.max_val):
            seen.add(node.target)
            found.append((node.args[0].name, observer))
    return found


def plot_observers(prepared: Any, count: int = 6) -> Any:
    """What the first ``count`` histogram observers of a prepared, calibrated model have seen, and the
    range they chose for the integers (red): values outside are clamped.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: no observer holds a histogram.
    """
    found = _histograms(prepared)[:count]
    if not found:
        raise _core.ValueError("plot_observers: no observer of the model has seen data in a histogram")
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = _pyplot().subplots(
        rows, columns, figsize=(3.6 * columns, 2.2 * rows), squeeze=False, layout="constrained"
    )
    for axis, (name, observer) in zip(axes.flat, found):
        _draw_histogram(axis, name, observer)
    for axis in list(axes.flat)[len(found) :]:
        axis.set_visible(False)
    axes[0][0].legend(fontsize=7, loc="upper right")
    figure.supxlabel("activation", fontsize=9)
    figure.supylabel("values seen", fontsize=9)
    return figure


def _draw_histogram(axis: Any, name: str, observer: Any) -> None:
    counts = np.asarray(observer.histogram, dtype=np.float64)
    low, high = float(observer.min_val), float(observer.max_val)
    parts = next((p for p in (64, 32, 16) if counts.size % p == 0), 1)
    counts = counts.reshape(-1, counts.size // parts).sum(1) if parts > 1 else counts
    edges = np.linspace(low, high, counts.size + 1)
    axis.stairs(counts, edges, fill=True, color=INTEGER)
    scale, zero_point = (float(v) for v in observer.calculate_qparams())
    bottom, top = observer.quant_min, observer.quant_max
    ends = [(q - zero_point) * scale for q in (bottom, top)]
    for i, end in enumerate(ends):
        axis.axvline(end, color=CHOSEN, linewidth=1.2, label="chosen range" if i == 0 else None)
    margin = 0.04 * (max(high, ends[1]) - min(low, ends[0]))
    axis.set_xlim(min(low, ends[0]) - margin, max(high, ends[1]) + margin)
    axis.set_yscale("log")
    axis.tick_params(labelsize=7)
    axis.set_title(f"{name}: scale {scale:.3g}, zero point {zero_point:.0f}", fontsize=8)


def plot_graphs(graphs: dict[str, Any], count: int = 18) -> Any:
    """The first ``count`` operators of some graphs beside each other; those on integers are blue.

    Args:
        graphs: title to graph.
        count: how many operators of each.

    Returns:
        The matplotlib figure.
    """
    figure, axes = _pyplot().subplots(
        1, len(graphs), figsize=(4.2 * len(graphs), 0.8 + 0.34 * count), squeeze=False, layout="constrained"
    )
    for axis, (title, graph) in zip(axes[0], graphs.items()):
        _draw_graph(axis, graph, count)
        axis.set_title(title)
    return figure


def _draw_graph(axis: Any, graph: Any, count: int) -> None:
    nodes = [n for n in graph.nodes if n.op in ("placeholder", "call_function")]
    nodes = [n for n in nodes if "per_channel" not in str(n.target)][:count]  # the weights' own
    row = {n: i for i, n in enumerate(nodes)}
    reach = 0
    for node, i in row.items():
        integer = any(word in str(node.target) for word in ("pt2q.q", "quantize_per_tensor", "requantize"))
        label = node.name if len(node.name) < 36 else node.name[:33] + "..."
        axis.barh(-i, 1.5, height=0.62, left=-0.75, color=INTEGER if integer else FLOAT)
        axis.text(0, -i, label, ha="center", va="center", fontsize=8)
        for source in node.all_input_nodes:
            if source not in row:
                continue
            gap = i - row[source]
            style = {"arrowstyle": "->", "color": "dimgray", "shrinkA": 0, "shrinkB": 0}
            if gap == 1:
                axis.annotate("", (0, -i + 0.3), (0, -row[source] - 0.3), arrowprops=style)
            else:  # beyond the neighbour: around the right
                reach = max(reach, gap)
                style["connectionstyle"] = f"arc3,rad={-0.9 / gap**0.5}"
                axis.annotate("", (0.76, -i), (0.76, -row[source]), arrowprops=style)
    axis.set_xlim(-0.9, 0.9 if reach == 0 else 1.6)
    axis.set_ylim(-len(nodes) + 0.4, 0.6)
    axis.axis("off")
