"""compile(tune="measure"): variants of kernels chosen by measuring, remembered between processes."""

import subprocess
import sys

import numpy as np
import pytest

import pt2q as torch
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PT2Q_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("PT2Q_CACHE", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def converted():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 1)).eval()
    x = torch.randn(1, 3, 24, 24)
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(net, (x,)).module(), quantizer)
    prepared(x)
    return convert_pt2e(prepared), x


def tunings(compiled, x):
    return [s["tuning"] for s in compiled.steps(x) if s["tuning"]]


def test_results_do_not_depend_on_it(converted, cache):
    model, x = converted
    plain, tuned = torch.compile(model), torch.compile(model, tune="measure", tuning_seconds=20)
    assert tuned(x).numpy().tobytes() == plain(x).numpy().tobytes()
    assert tunings(plain, x) == ["modelled"] * 2
    assert tunings(tuned, x) == ["measured"] * 2
    assert "exact, measured" in tuned.explain() and "exact, modelled" in plain.explain()
    assert any(p.is_file() for p in cache.rglob("*"))
    assert tunings(torch.compile(model, mode="max-autotune"), x) == ["measured earlier"] * 2


def test_another_process_remembers(converted, tmp_path):
    model, x = converted
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "m.pt2")
    text = f"""
import pt2q
pt2q.set_num_threads({torch.get_num_threads()})
c = pt2q.compile(pt2q.export.load({str(tmp_path / "m.pt2")!r}).module(), tune="measure", tuning_seconds=0)
print([s["tuning"] for s in c.steps(pt2q.zeros(1, 3, 24, 24)) if s["tuning"]])
"""
    torch.compile(model, tune="measure", tuning_seconds=20)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["measured earlier"] * 2)


def test_wrong_arguments(converted):
    model, _ = converted
    with pytest.raises(torch.ValueError, match="unknown tune 'fast'"):
        torch.compile(model, tune="fast")
    with pytest.raises(torch.ValueError, match="tuning_seconds must not be negative"):
        torch.compile(model, tune="measure", tuning_seconds=-1)
    with pytest.raises(torch.ValueError, match="tuning_seconds must not be negative"):
        torch.compile(model, tune="measure", tuning_seconds=float("nan"))


def test_a_module_is_lowered_at_its_first_call():
    net = nn.Linear(8, 4).eval()
    x = np.ones((2, 8), np.float32)
    compiled = torch.compile(net, tune="measure")
    with pytest.raises(torch.RuntimeError, match="has not been captured yet"):
        compiled.explain()
    np.testing.assert_array_equal(compiled(x), torch.compile(torch.export.export(net, (x,)).module())(x))
    assert "aten.linear.default" in compiled.explain()
    lowered = compiled.graph_module
    compiled(x)
    assert compiled.graph_module is lowered
    compiled(x[:1])
    assert compiled.graph_module is not lowered  # each combination of shapes is captured anew


@pytest.mark.parametrize("mode", ["max-autotune", "max-autotune-no-cudagraphs"])
def test_modes_of_torch_compile(converted, mode):
    model, x = converted
    assert tunings(torch.compile(model, mode=mode, tuning_seconds=20), x) == ["measured"] * 2
    assert tunings(torch.compile(model, mode=mode, tune="model"), x) == ["modelled"] * 2  # tune decides
    assert tunings(torch.compile(model, mode="reduce-overhead"), x) == ["modelled"] * 2
