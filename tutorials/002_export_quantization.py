# %% [markdown]
# # From a float model to an int8 file
# Five steps: capture, prepare, calibrate, convert, save. What becomes int8 is decided by a quantizer, an object you configure or write
# yourself; here it is `XNNPACKQuantizer`. Everything runs on NumPy arrays, without PyTorch.

# %%
import os
import pathlib

import matplotlib.pyplot as plt
import numpy as np

import pt2q as torch
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from pt2q.vision import models

# %% [markdown]
# ## Data and model
# Handwritten digits, 8x8 pixels, and a trained 14-layer residual network.

# %%
folder = next(p for p in [pathlib.Path(".").resolve(), *pathlib.Path(".").resolve().parents] if (p / "examples/demo").is_dir())
data = np.load(folder / "examples/demo/digits.npz")
images = data["images"][:, None].astype(np.float32) / 16
train, test = images[~data["is_test"]], images[data["is_test"]]
labels = data["labels"][data["is_test"]]

model = models.CifarResNet(2, in_channels=1)
model.load_state_dict(torch.load(folder / "examples/demo/digits_resnet.safetensors"))
model.eval()


def accuracy(run):
    scores = np.concatenate([run(batch) for batch in np.split(test, 10)])
    return float((scores.argmax(1) == labels).mean())


# %% [markdown]
# ## Capture
# `export` records the operators of one call. A dimension named with `Dim` may vary later; the others are fixed.

# %%
batch = torch.export.Dim("batch", min=1, max=1024)
example = (torch.from_numpy(train[:8]),)
exported = torch.export.export_for_training(model, example, dynamic_shapes=({0: batch},)).module()
float_accuracy = accuracy(exported)
print(f"{len(exported.graph.nodes)} nodes, accuracy {float_accuracy:.4f}")

# %% [markdown]
# ## Prepare and calibrate
# `prepare_pt2e` folds batch norms into convolutions, asks the quantizer which tensors to observe, and inserts observers. Running the
# prepared model on typical data calibrates it: 100 training images suffice here.

# %%
quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
prepared = prepare_pt2e(exported, quantizer)
for start in range(0, 100, 20):
    prepared(train[start : start + 20])

# %% [markdown]
# ## Convert
# Observers become `quantize` and `dequantize` operators with constant scales, and weights become int8.

# %%
converted = convert_pt2e(prepared)
int8_accuracy = accuracy(converted)
print(f"accuracy: float32 {float_accuracy:.4f}, int8 {int8_accuracy:.4f}")
assert int8_accuracy > float_accuracy - 0.02

# %% [markdown]
# ## What the rounding of each layer's weights costs
# The signal-to-noise ratio of the int8 weights, in decibel: every 6 dB is one bit. A layer far below the others would be a candidate
# for float32: `quantizer.set_module_name("conv1", None)`.

# %%
rows = []
weights = {n.target: n for n in converted.graph.nodes if n.op == "get_attr"}
floats = [p for name, p in model.state_dict().items() if p.dim() in (2, 4)]
for node in converted.graph.nodes:
    if "dequantize_per_channel" not in str(node.target):
        continue
    q, scale = (getattr(converted, node.args[i].target).numpy() for i in (0, 1))
    real = q * scale.reshape((-1,) + (1,) * (q.ndim - 1))
    # Half a step is the largest rounding error: its mean square is step**2 / 12.
    noise = np.mean(np.broadcast_to(scale.reshape((-1,) + (1,) * (q.ndim - 1)) ** 2 / 12, q.shape))
    rows.append((len(rows), 10 * np.log10(np.mean(real**2) / noise)))
assert len(rows) == len(floats)
figure, axis = plt.subplots(figsize=(8, 2.6))
axis.bar([r[0] for r in rows], [r[1] for r in rows])
axis.set_xlabel("layer")
axis.set_ylabel("weight SQNR, dB")
figure.tight_layout()
figure.savefig("002_sqnr.png")

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
