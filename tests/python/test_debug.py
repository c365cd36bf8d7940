"""The numeric debugger and sqnr_report on every stage: float, prepared, converted, compiled."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import pt2q
from pt2q import debug, nn
from pt2q.ao.quantization import pt2e
from pt2q.ao.quantization.pt2e import _numeric_debugger
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.conv2(y) + y)
        y = self.pool(y)
        return self.fc(y.mean((2, 3)))


def batch(seed=0):
    return np.random.default_rng(seed).standard_normal((2, 3, 8, 8), dtype=np.float32)


def quantizer(is_qat=False):
    config = get_default_x86_inductor_quantization_config(is_qat=is_qat)
    return X86InductorQuantizer().set_global(config)


@pytest.fixture
def stages():
    pt2q.manual_seed(0)
    program = pt2q.export.export(Net().eval(), (batch(),))
    prepared = prepare_pt2e(program.module(), quantizer())
    prepared(batch())
    again = prepare_pt2e(program.module(), quantizer())
    again(batch())
    converted = convert_pt2e(again)
    return {
        "program": program,
        "prepared": prepared,
        "converted": converted,
        "compiled": pt2q.compile(converted),
    }


def test_report_on_every_stage(stages):
    float_model = stages["program"].module()
    data = [batch(1), batch(2)]
    reports = {name: debug.sqnr_report(float_model, m, data) for name, m in stages.items()}
    assert all(r.sqnr == math.inf for r in reports["program"])
    # Weights and activations are only observed; a second plan may sum in another order.
    assert all(r.sqnr > 100 for r in reports["prepared"])
    names = {r.name for r in reports["converted"]}
    assert names == {"conv2d", "relu", "conv2d_1", "add", "relu_1", "max_pool2d", "mean", "linear"}
    for stage in ("converted", "compiled"):
        assert all(20 < r.sqnr < 80 for r in reports[stage]), str(reports[stage])
        assert [r.sqnr for r in reports[stage]] == sorted(r.sqnr for r in reports[stage])
    # Fused operators appear under the name of the last one; integers as the numbers they stand for.
    compiled = {r.name for r in reports["compiled"]}
    assert {"relu", "relu_1", "max_pool2d", "linear"} <= compiled
    assert not {"conv2d", "conv2d_1", "add"} & compiled
    layer = next(r for r in reports["converted"] if r.name == "conv2d")
    assert (layer.module, layer.op, layer.elements) == ("conv1", "aten.conv2d.default", 2 * 2 * 8 * 64)


def test_report_equals_compare_results(stages):
    program = stages["program"]
    x = batch(3)
    reference = debug.prepare_for_propagation_comparison(program.module())
    actual = debug.prepare_for_propagation_comparison(stages["converted"])
    reference(x), actual(x)
    results = debug.compare_results(
        debug.extract_results_from_loggers(reference), debug.extract_results_from_loggers(actual)
    )
    rows = {r.name: r for r in debug.sqnr_report(program, stages["converted"], [x])}
    assert rows.keys() == {info.name for info in results}
    for info, summary in results.items():
        assert summary.ref_node_name == info.name
        assert summary.ref_module_stack == rows[info.name].module
        if info.name != "conv2d":  # followed by a batch norm, which the report folds
            assert float(summary.results[0].sqnr) == pytest.approx(rows[info.name].sqnr, rel=1e-4)
            assert float(summary.results[0].mse_loss) == pytest.approx(rows[info.name].mse, rel=1e-4)


def test_report_forms(stages, tmp_path):
    report = debug.sqnr_report(stages["program"], stages["converted"], [(batch(), "label")])
    lines = str(report).splitlines()
    assert len(lines) == 1 + len(report) and lines[0].startswith("layer")
    assert lines[1].split()[0] == report.worst()[0].name
    for suffix in ("txt", "json", "html"):
        report.save(tmp_path / f"report.{suffix}")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["batches"] == 1 and len(data["layers"]) == len(report)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<tr><td>") == len(report) == page.count('class="bar"')
    hostile = debug.SqnrReport(
        (debug.LayerAccuracy("<b>", "m", "op", math.inf, 0.0, 0.0, 1),), 1
    )
    assert "<b>" not in hostile.to_html() and "&lt;b&gt;" in hostile.to_html()
    assert json.loads(hostile.to_json())["layers"][0]["sqnr"] is None


def test_report_finds_the_broken_layer(stages):
    model = stages["converted"]
    weight = next(n for n in model.graph.nodes if n.op == "get_attr" and "_frozen_param1" in str(n.target))
    tensor = model.get_buffer(str(weight.target))
    broken = np.roll(tensor.numpy().copy(), 1, axis=0)
    setattr(model, str(weight.target), pt2q.tensor(broken))
    report = debug.sqnr_report(stages["program"], model, [batch()])
    assert report.worst()[0].name == "conv2d_1" and report.worst()[0].sqnr < 10


def test_qat_model_is_compared_too():
    pt2q.manual_seed(0)
    program = pt2q.export.export(Net().train(), (batch(),))
    prepared = prepare_qat_pt2e(program.module(), quantizer(is_qat=True))
    for seed in range(3):
        prepared(batch(seed))
    pt2e.move_exported_model_to_eval(prepared)
    want = prepared(batch())
    converted = convert_pt2e(prepared)
    assert not any("batch_norm" in n.name for n in converted.graph.nodes)
    noise = np.linalg.norm(converted(batch()) - want) / np.linalg.norm(want)
    assert noise < 0.05
    reference = pt2e.move_exported_model_to_eval(program.module())
    report = debug.sqnr_report(reference, converted, [batch()])
    assert {"conv2d", "conv2d_1", "linear"} <= {r.name for r in report}


def test_models_exported_apart_are_matched_by_name(stages):
    pt2q.manual_seed(0)
    other = pt2q.export.export(Net().eval(), (batch(),))
    by_name = debug.sqnr_report(other, stages["converted"], [batch()])
    assert len(by_name) == len(debug.sqnr_report(stages["program"], stages["converted"], [batch()]))
    reference = debug.prepare_for_propagation_comparison(other.module())
    reference(batch())
    actual = debug.prepare_for_propagation_comparison(stages["converted"])
    actual(batch())
    assert not debug.compare_results(
        debug.extract_results_from_loggers(reference), debug.extract_results_from_loggers(actual)
    )


def test_loggers_leave_the_model_as_it_was(stages):
    model = stages["prepared"]
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    logged = debug.prepare_for_propagation_comparison(model)
    logged(batch(9) * 100)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])
    assert not any("logger" in n.name for n in model.graph.nodes)
    logger = next(n for n in logged.graph.nodes if "logger" in n.name)
    assert logger.name == "conv2d_logger0" and logger.op == "call_module"
    assert "num_stats=1" in repr(logged.get_submodule("conv2d_logger0"))


def test_handles_survive_quantization_and_lowering():
    program = pt2q.export.export(Net().eval(), (batch(),))
    pt2e.generate_numeric_debug_handle(program)
    key = (pt2e.CUSTOM_KEY, pt2e.NUMERIC_DEBUG_HANDLE_KEY)
    handles = {n.name: n.meta[key[0]][key[1]] for n in program.graph.nodes if key[0] in n.meta}
    assert sorted(handles.values()) == list(range(1, len(handles) + 1))
    assert program.graph.find_nodes(op="get_attr")[0].meta.get("custom") is None
    pt2e.generate_numeric_debug_handle(program)
    assert handles == {n.name: n.meta[key[0]][key[1]] for n in program.graph.nodes if key[0] in n.meta}
    prepared = prepare_pt2e(program.module(), quantizer())
    prepared(batch())
    converted = convert_pt2e(prepared)
    lowered = pt2q.compile(converted).graph
    fused = [n for n in lowered.nodes if str(n.target) == "pt2q.qconv.default"]
    assert [n.meta["custom"]["numeric_debug_handle"] for n in fused] == [handles["relu"], handles["relu_1"]]
    assert fused[0].meta["from_node"][-1].name == "relu"


def test_old_and_new_paths_name_the_same_functions():
    for name in (
        "compare_results",
        "extract_results_from_loggers",
        "generate_numeric_debug_handle",
        "prepare_for_propagation_comparison",
    ):
        assert getattr(pt2e, name) is getattr(_numeric_debugger, name) is getattr(debug, name)
    import pt2q.ao.quantization as old

    assert old.generate_numeric_debug_handle is pt2e.generate_numeric_debug_handle


def test_bad_input_is_named(stages):
    with pytest.raises(ValueError, match="the data is empty"):
        debug.sqnr_report(stages["program"], stages["converted"], [])
    with pytest.raises(ValueError, match="Expected ep to be ExportedProgram"):
        debug.generate_numeric_debug_handle(stages["converted"])
    with pytest.raises(ValueError, match="expected a captured, prepared, converted or compiled model"):
        debug.prepare_for_propagation_comparison(Net())
    other = pt2q.export.export(nn.Sigmoid(), (batch(),))
    with pytest.raises(ValueError, match="no operator in common"):
        debug.sqnr_report(other, stages["converted"], [batch()])
    one, two = (pt2q.ones(2), pt2q.ones(3))
    info = debug.NodeSourceDebugInfo("conv", 1)
    with pytest.raises(ValueError, match="from ref node r and actual node a"):
        debug.compare_results({info: ("r", None, [one])}, {info: ("a", None, [two])})
