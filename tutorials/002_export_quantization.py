# %% [markdown]
# # From a float model to an int8 file
# Five steps: capture, prepare, calibrate, convert, save. What becomes int8 is decided by a quantizer, an object you configure or write
# yourself; here it is `XNNPACKQuantizer`. Everything runs on NumPy arrays, without PyTorch.

# %%
import copy
import os

import numpy as np
from digits import accuracy, calibration, load_model, test

import pt2q as torch
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from pt2q.debug import plot_sqnr, sqnr_report

# %% [markdown]
# ## Capture
# `export` records the operators of one call. A dimension named with `Dim` may vary later; the others are fixed. The model is a trained
# residual network of 14 layers for handwritten digits; `digits.py` beside this page loads it and the data.

# %%
batch = torch.export.Dim("batch", min=1, max=1024)
model = load_model()
example = (torch.from_numpy(calibration[:8]),)
exported = torch.export.export_for_training(model, example, dynamic_shapes=({0: batch},)).module()
float_accuracy = accuracy(exported)
print(f"{len(exported.graph.nodes)} nodes, accuracy {float_accuracy:.4f}")

# %% [markdown]
# ## Prepare and calibrate
# `prepare_pt2e` folds batch norms into convolutions, asks the quantizer which tensors to observe, and inserts observers. Running the
# prepared model on typical data calibrates it: 100 training images suffice here. It changes the model it is given, so a copy is kept
# for comparison.

# %%
quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
prepared = prepare_pt2e(copy.deepcopy(exported), quantizer)
for start in range(0, 100, 20):
    prepared(calibration[start : start + 20])

# %% [markdown]
# ## Convert
# Observers become `quantize` and `dequantize` operators with constant scales, and weights become int8.

# %%
converted = convert_pt2e(prepared)
int8_accuracy = accuracy(converted)
print(f"accuracy: float32 {float_accuracy:.4f}, int8 {int8_accuracy:.4f}")
assert int8_accuracy > float_accuracy - 0.02

# %% [markdown]
# ## Where the difference comes from
# `sqnr_report` runs both models on the same images and compares every layer: the signal-to-noise ratio in decibel; 6 dB are one bit. A
# layer far below the others would be a candidate for float32: `quantizer.set_module_name("conv1", None)`.

# %%
report = sqnr_report(exported, converted, [test[:100]])
plot_sqnr(report, count=16).savefig("002_sqnr.png", dpi=110)
worst = report.worst()[0]
assert 5 < worst.sqnr < 60
print(f"worst: {worst.module or worst.name}, {worst.sqnr:.1f} dB")

# %% [markdown]
# ## Save, load, compare
# The file holds every int8 weight once, so it is a good quarter of the float one. Loading gives the same bits, and `torch.export.load` of
# PyTorch opens it, too.

# %%
torch.export.save(torch.export.export(model, example), "float.pt2")
torch.export.save(torch.export.export(converted, example, dynamic_shapes=({0: batch},)), "int8.pt2")
sizes = {name: os.path.getsize(name) for name in ("float.pt2", "int8.pt2")}
print(sizes, f"ratio {sizes['int8.pt2'] / sizes['float.pt2']:.2f}")
loaded = torch.export.load("int8.pt2").module()
assert np.array_equal(loaded(test[:50]), converted(test[:50]))

# %% [markdown]
# ## Run fast
# Up to here the int8 model computed in float32 between `dequantize` and `quantize`. `compile` replaces that by int8 kernels;
# `explain` says which one runs every layer.

# %%
fast = torch.compile(loaded)
print(f"compiled: accuracy {accuracy(fast):.4f}")
print(fast.explain(test[:50]))
