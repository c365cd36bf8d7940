"""What an installed pt2q must do with NumPy alone: the whole flow on a small model, no output on import."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout

import numpy as np

output = io.StringIO()
with redirect_stdout(output), redirect_stderr(output):
    import pt2q as torch
assert output.getvalue() == "", f"import printed {output.getvalue()!r}"
from pt2q import nn
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
).eval()
x = np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(np.float32)
expected = model(torch.from_numpy(x)).numpy()
exported = torch.export.export(model, (torch.from_numpy(x),)).module()
quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
prepared = prepare_pt2e(exported, quantizer)
prepared(x)
converted = convert_pt2e(prepared)
quantized = converted(x)
compiled = torch.compile(converted)
fast = compiled(x)
assert isinstance(fast, np.ndarray) and fast.shape == (4, 10)
noise = np.linalg.norm(expected - fast) / np.linalg.norm(expected)
assert noise < 0.1, f"int8 differs from float by {noise:.3f}"
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.pt2")
    torch.export.save(torch.export.export(converted, (torch.from_numpy(x),)), path)
    again = torch.export.load(path).module()(x)
assert np.array_equal(again, quantized), "reload changed the result"
print(f"pt2q {torch.__version__} on Python {sys.version.split()[0]}, NumPy {np.__version__}: ok (int8 noise {noise:.4f})")
