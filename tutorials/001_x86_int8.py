# %% [markdown]
# # int8 on x86 processors
# `X86InductorQuantizer` marks what oneDNN-style kernels can do in int8: convolution and linear with their activation and residual
# addition, pooling and reshaping between them. `compile` then really runs int8, and says which kernel ran every layer.

# %%
import pathlib
import time

import matplotlib.pyplot as plt
import numpy as np

import pt2q as torch
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import x86_inductor_quantizer as xiq
from pt2q.vision import models

# %% [markdown]
# ## Quantize
# The model reads handwritten digits. Its weights take a few kilobytes, so it says little about speed; the last part of this page takes
# a ResNet-18 for that.

# %%
folder = next(p for p in [pathlib.Path(".").resolve(), *pathlib.Path(".").resolve().parents] if (p / "examples/demo").is_dir())
data = np.load(folder / "examples/demo/digits.npz")
images = data["images"][:, None].astype(np.float32) / 16
train, test = images[~data["is_test"]], images[data["is_test"]]
labels = data["labels"][data["is_test"]]


def accuracy(run):
    scores = np.concatenate([run(batch) for batch in np.split(test, 10)])
    return float((scores.argmax(1) == labels).mean())


def quantize(model, calibration):
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = (torch.from_numpy(calibration[:8]),)
    exported = torch.export.export_for_training(model, example, dynamic_shapes=({0: batch},)).module()
    quantizer = xiq.X86InductorQuantizer()
    quantizer.set_global(xiq.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    prepared(calibration)
    return convert_pt2e(prepared)


model = models.CifarResNet(2, in_channels=1)
model.load_state_dict(torch.load(folder / "examples/demo/digits_resnet.safetensors"))
model.eval()
converted = quantize(model, train[:100])
compiled = torch.compile(converted)
print(f"accuracy: float32 {accuracy(torch.compile(model)):.4f}, int8 {accuracy(compiled):.4f}")
assert accuracy(compiled) > accuracy(torch.compile(model)) - 0.02

# %% [markdown]
# ## The quantized graph, before and after lowering
# Between two `dequantize` and one `quantize` stands a float operator: that is how a quantized model is written down. Lowering takes the
# three together. The picture shows the first layers; blue works on integers.

# %%
INTEGER, FLOAT = "#9ecae1", "#fdd0a2"


def draw(axis, graph, count):
    nodes = [n for n in graph.nodes if n.op in ("placeholder", "call_function")]
    nodes = [n for n in nodes if "per_channel" not in str(n.target)][:count]
    row = {n: i for i, n in enumerate(nodes)}
    for n, i in row.items():
        integer = any(word in str(n.target) for word in ("pt2q.q", "quantize_per_tensor"))
        label = n.name if len(n.name) < 34 else n.name[:31] + "..."
        axis.text(0, -i, label, ha="center", va="center", fontsize=7, bbox={"boxstyle": "round", "fc": INTEGER if integer else FLOAT})
        for source in n.all_input_nodes:
            if source in row and i - row[source] > 1:  # beyond its neighbour: a residual
                style = {"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.4", "color": "gray"}
                axis.annotate("", (0.6, -i), (0.6, -row[source]), arrowprops=style)
    axis.set_xlim(-1.5, 1.5)
    axis.set_ylim(-len(nodes), 1)
    axis.axis("off")


figure, axes = plt.subplots(1, 2, figsize=(8, 6))
for axis, graph, title in zip(axes, (converted.graph, compiled.graph), ("converted", "compiled")):
    draw(axis, graph, 18)
    axis.set_title(title)
figure.tight_layout()
figure.savefig("001_graph.png")
print(compiled.explain(test[:50]))

# %% [markdown]
# ## Exactness
# Sums of int8 products are exact here on every processor. Without VNNI, common kernels add pairs of products in 16 bits, where they can
# saturate; pt2q proves layer by layer that they cannot, or takes another route. So the result does not depend on threads or batch size.

# %%
whole = compiled(test[:60])
parts = np.concatenate([compiled(part) for part in np.split(test[:60], 6)])
torch.set_num_threads(1)
assert np.array_equal(whole, parts) and np.array_equal(whole, compiled(test[:60]))

# %% [markdown]
# ## Speed
# ResNet-18 on one image, random weights (speed does not depend on them), one thread.


# %%
def milliseconds(run, x, repeats=5):
    run(x)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - begin)
    return min(times) * 1e3


torch.manual_seed(0)
resnet = models.resnet18().eval()
photo = np.random.default_rng(0).standard_normal((8, 3, 224, 224)).astype(np.float32)
fast = torch.compile(quantize(resnet, photo))
times = {"float32": milliseconds(torch.compile(resnet), photo[:1]), "int8": milliseconds(fast, photo[:1])}
figure, axis = plt.subplots(figsize=(6, 1.6))
axis.barh(list(times), list(times.values()))
axis.invert_yaxis()
axis.set_xlabel(f"milliseconds, ResNet-18, {torch.isa_name()}")
figure.tight_layout()
figure.savefig("001_latency.png")
print({name: round(t, 2) for name, t in times.items()})
