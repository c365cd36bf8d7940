# %% [markdown]
# # Modules and scripts: the older ways to quantize
#
# Document 004 shows two interfaces that came before export: *eager mode*, where modules are exchanged
# for quantized ones, and *TorchScript mode*, where a traced graph is. Both still work here, on the same
# observers, the same converter and the same kernels as everything else.

# %%
import pathlib

import matplotlib.pyplot as plt
import numpy as np

import pt2q as torch
from pt2q import nn
from pt2q.quantization.quantize_jit import convert_jit, prepare_jit
from pt2q.vision import models

folder = next(p for p in [pathlib.Path(".").resolve(), *pathlib.Path(".").resolve().parents] if (p / "examples/demo").is_dir())
data = np.load(folder / "examples/demo/digits.npz")
digits = data["images"][:, None].astype(np.float32) / 16
train, images = digits[~data["is_test"]][:100], digits[data["is_test"]]
labels = data["labels"][data["is_test"]]


def load_model():
    model = models.CifarResNet(2, in_channels=1)
    model.load_state_dict(torch.load(folder / "examples/demo/digits_resnet.safetensors"))
    return model.eval()


def sqnr(signal, other):
    """Signal-to-quantization-noise ratio in dB."""
    return 20 * float(np.log10(np.linalg.norm(signal) / np.linalg.norm(signal - other)))


def bars(names, values, unit, title, file):
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.32 * len(names)))
    axis.bar_label(axis.barh(range(len(names)), values), fmt="%.3g", padding=3, fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set(xlabel=unit, title=title)
    figure.tight_layout()
    figure.savefig(file, dpi=80)


batches = [torch.from_numpy(train[i : i + 50]) for i in (0, 50)]
test = torch.from_numpy(images)


# %% [markdown]
# ## Eager mode
#
# A small network on top of the trained one's first layers would hide the idea; a plain stack of modules
# shows it. It is not trained: what matters here is that the integer modules give what the float ones do.

# %%
torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
).eval()  # fmt: skip
reference = np.asarray(model(test))

qconfig = torch.quantization.QConfig(
    activation=torch.quantization.observer.MinMaxObserver.with_args(qscheme=torch.per_tensor_symmetric),
    weight=torch.quantization.default_weight_observer,
)
eager = torch.quantization.QuantWrapper(model)
eager.qconfig = qconfig
torch.quantization.prepare(eager, inplace=True)
for batch in batches:
    eager(batch)
torch.quantization.convert(eager, inplace=True)
print(eager)

# %%
print(f"{sqnr(reference, np.asarray(eager(test))):.1f} dB against float32")

# %% [markdown]
# ## TorchScript mode
#
# Tracing captures the whole graph, so that convolution and activation become one operator without any
# fusion call. Here the trained network is used, and the number of right answers says whether it works.

# %%
trained = load_model()
settings = {
    "affine, per tensor": (torch.per_tensor_affine, torch.quantization.default_weight_observer),
    "symmetric, per tensor": (torch.per_tensor_symmetric, torch.quantization.default_weight_observer),
    "affine, per channel": (torch.per_tensor_affine, torch.quantization.default_per_channel_weight_observer),
}
names, ratios = [], []
float_logits = np.asarray(trained(images))
for name, (qscheme, weight) in settings.items():
    script = torch.jit.trace(trained, batches[0])
    activation = torch.quantization.observer.MinMaxObserver.with_args(
        qscheme=qscheme, reduce_range=False, dtype=torch.quint8
    )
    script = prepare_jit(script, {"": torch.quantization.QConfig(activation=activation, weight=weight)})
    for batch in batches:
        script(batch)
    script = convert_jit(script)
    logits = np.asarray(script(test))
    names.append(name)
    ratios.append(sqnr(float_logits, logits))
    print(f"{name}: {100 * (logits.argmax(1) == labels).mean():.2f} % right")
bars(names, ratios, "dB (more is better)", "Logits against float32", "004_1.png")

# %% [markdown]
# `graph_for` prints what runs; the fusions carry the names the document uses.

# %%
print("\n".join(line[:150] for line in script.graph_for(test[:1]).splitlines() if "conv" in line or "linear" in line))
