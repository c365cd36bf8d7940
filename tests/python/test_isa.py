"""PT2Q_MAX_ISA: what the library may use, from its first kernel on, oneDNN's included."""

import os
import subprocess
import sys

import pytest

import pt2q

SCRIPT = """
import numpy as np, pt2q as torch
from pt2q import nn
x = np.ones((1, 3, 12, 12), np.float32)
model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).eval()
compiled = torch.compile(torch.export.export_for_training(model, (x,)).module())
compiled(x)
print(torch.isa_name())
print(compiled.explain())
"""

LEVELS = {"portable": "BASELINE", "avx2": "AVX2", "avx512": "AVX512", "avx512_vnni": "AVX512_VNNI", "amx": "AMX"}


def run(cap: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PT2Q_MAX_ISA": cap}
    return subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=env)


@pytest.mark.parametrize("cap", ["portable", "avx2", "avx512"])
def test_limits_every_kernel(cap: str) -> None:
    order = list(LEVELS.values())
    machine = pt2q.cpu_info()["isa"]
    if order.index(machine) <= order.index(LEVELS[cap]):
        pytest.skip(f"this machine has no more than {machine}")
    done = run(cap)
    assert done.returncode == 0, done.stderr
    name, report = done.stdout.split("\n", 1)
    assert name == LEVELS[cap]
    assert f"instruction set: {machine} (limited to {cap})" in report
    assert "onednn" in report
    if cap != "avx512":
        assert "avx512" not in report.replace("AVX512", "")
    if cap == "portable":
        assert "avx2" not in report.replace("AVX2", "")


def test_unknown_name_is_told_at_import() -> None:
    done = run("avx3")
    assert done.returncode != 0
    assert "PT2Q_MAX_ISA: unknown instruction set 'avx3'" in done.stderr
    assert "portable, avx2, avx512, avx512_vnni or amx" in done.stderr
