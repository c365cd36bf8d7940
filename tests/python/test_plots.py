"""Pictures of pt2q.debug: what they show, and what they refuse."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import pt2q
from pt2q import debug, nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

matplotlib = pytest.importorskip("matplotlib", reason="NO MATPLOTLIB: pictures were not drawn")
matplotlib.use("Agg")


@pytest.fixture(scope="module")
def stages():
    pt2q.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    x = pt2q.randn(2, 3, 12, 12)

    def captured():
        return pt2q.export.export(model, (x,)).module()

    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(captured(), quantizer)
    untouched = prepare_pt2e(captured(), quantizer)
    prepared(x)
    again = prepare_pt2e(captured(), quantizer)
    again(x)
    return captured(), prepared, untouched, convert_pt2e(again), x


@pytest.fixture(autouse=True)
def close():
    yield
    matplotlib.pyplot.close("all")


def test_bars_carry_their_values():
    axis = debug.plot_bars(["a", "b", "c"], [1.0, 2.5, float("inf")], "dB", "title").axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a", "b", "c"]
    assert [b.get_width() for b in axis.patches] == [1.0, 2.5, 0.0]
    assert {t.get_text() for t in axis.texts} == {"1", "2.5", "inf"}
    assert (axis.get_xlabel(), axis.get_title()) == ("dB", "title")
    with pytest.raises(ValueError, match="2 names for 1 values"):
        debug.plot_bars(["a", "b"], [1.0], "dB")


def test_observers_show_the_chosen_range(stages):
    _, prepared, _, _, x = stages
    figure = debug.plot_observers(prepared)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    title = shown[0].get_title()
    assert title.startswith("input: scale ") or title.startswith("x: scale ")
    low, high = (line.get_xdata()[0] for line in shown[0].lines)
    assert low < float(x.min()) + 1 and high > float(x.max()) - 1 and low < high
    heights = shown[0].patches[0].get_data().values
    assert heights.sum() == pytest.approx(x.numel(), rel=1e-3)
    assert len(debug.plot_observers(prepared, count=1).axes) == 1


def test_observers_without_data_are_refused(stages):
    _, _, untouched, converted, _ = stages
    for model in (untouched, converted):
        with pytest.raises(ValueError, match="no observer of the model has seen data"):
            debug.plot_observers(model)


def test_sqnr_shows_the_worst_layers(stages):
    floating, _, _, converted, x = stages
    report = debug.sqnr_report(floating, converted, [x])
    axis = debug.plot_sqnr(report, count=2).axes[0]
    assert [b.get_width() for b in axis.patches] == pytest.approx([r.sqnr for r in report.worst(2)])
    assert axis.get_title() == "Layers farthest from float32"
    assert debug.plot_sqnr(report, count=99).axes[0].get_title() == "Layers against float32"


def test_graphs_colour_integers(stages):
    floating, _, _, converted, _ = stages
    figure = debug.plot_graphs({"float": floating.graph, "int8": converted.graph}, count=6)
    colours = [{tuple(np.round(p.get_facecolor(), 2)) for p in axis.patches if hasattr(p, "get_width")} for axis in figure.axes]
    assert [axis.get_title() for axis in figure.axes] == ["float", "int8"]
    assert len(colours[0]) == 1 and len(colours[1]) == 2
    labels = [t.get_text() for t in figure.axes[1].texts]
    assert any("quantize_per_tensor" in label for label in labels)


def test_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    with pytest.raises(RuntimeError, match="pictures need matplotlib"):
        debug.plot_bars(["a"], [1.0], "dB")
