"""3x3 convolutions by Winograd's method: the same integers, nearly the same floats, and PT2Q_WINOGRAD=0."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import pt2q

SCRIPT = """
import sys
import numpy as np, pt2q as torch
from pt2q import nn
import pt2q.ao.quantization.quantizer.x86_inductor_quantizer as xiq
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e

torch.manual_seed(3)
rng = np.random.default_rng(3)
x = torch.as_tensor(rng.standard_normal((2, 64, 30, 29)).astype(np.float32))
model = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 80, 3)).eval()
exported = torch.export.export(model, (x,)).module()
real = torch.compile(exported)
prepared = prepare_pt2e(exported, xiq.X86InductorQuantizer().set_global(xiq.get_default_x86_inductor_quantization_config()))
prepared(x)
integer = torch.compile(convert_pt2e(prepared))
np.savez(sys.argv[1], real=real(x).numpy(), integer=integer(x).numpy())
for compiled in (real, integer):
    print(sum("winograd" in step["kernel"] for step in compiled.steps(x)))
"""


def run(path: pathlib.Path, **env: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """How many steps of the float and of the int8 model take the method, and their results."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), dict(np.load(path))


def test_the_method_can_be_turned_off(tmp_path: pathlib.Path) -> None:
    isa = pt2q.cpu_info()["isa"]
    if isa == "BASELINE":
        pytest.skip("plain C++ does not take the method")
    counts, usual = run(tmp_path / "usual.npz")
    assert counts == ["2", "0" if isa == "AMX" else "2"]
    counts, without = run(tmp_path / "without.npz", PT2Q_WINOGRAD="0")
    assert counts == ["0", "0"]
    scale = np.abs(without["real"]).max()
    np.testing.assert_allclose(usual["real"], without["real"], rtol=0, atol=2e-6 * scale)
    # Calibration saw floats that differ in their last digits, so ranges may, and a few results on the edge.
    np.testing.assert_allclose(usual["integer"], without["integer"], rtol=0, atol=0.02 * scale)
