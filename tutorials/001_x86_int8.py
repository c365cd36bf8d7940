# %% [markdown]
# # int8 on x86 processors
# `X86InductorQuantizer` marks what oneDNN-style kernels can do in int8: convolution and linear with their activation and residual
# addition, pooling and reshaping between them. `compile` then really runs int8, and says which kernel ran every layer.

# %%
import numpy as np
from digits import accuracy, calibration, load_model, milliseconds, test

import pt2q as torch
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import x86_inductor_quantizer as xiq
from pt2q.debug import plot_bars, plot_graphs
from pt2q.vision import models

# %% [markdown]
# ## Quantize
# The model reads handwritten digits (`digits.py` beside this page loads it). Its weights take a few kilobytes, so it says little about
# speed; the last part of this page takes a ResNet-18 for that.


# %%
def quantize(model, data):
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = (torch.from_numpy(data[:8]),)
    exported = torch.export.export_for_training(model, example, dynamic_shapes=({0: batch},)).module()
    quantizer = xiq.X86InductorQuantizer()
    quantizer.set_global(xiq.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    prepared(data)
    return convert_pt2e(prepared)


model = load_model()
converted = quantize(model, calibration)
compiled = torch.compile(converted)
print(f"accuracy: float32 {accuracy(torch.compile(model)):.4f}, int8 {accuracy(compiled):.4f}")
assert accuracy(compiled) > accuracy(torch.compile(model)) - 0.02

# %% [markdown]
# ## The quantized graph, before and after lowering
# Between two `dequantize` and one `quantize` stands a float operator: that is how a quantized model is written down. Lowering takes the
# three together. The picture shows the first layers; blue works on integers.

# %%
figure = plot_graphs({"converted": converted.graph, "compiled": compiled.graph}, count=16)
figure.savefig("001_graph.png", dpi=110)
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
torch.manual_seed(0)
resnet = models.resnet18().eval()
photo = np.random.default_rng(0).standard_normal((8, 3, 224, 224)).astype(np.float32)
runs = {"float32": torch.compile(resnet), "int8": torch.compile(quantize(resnet, photo))}
times = {name: milliseconds(run, photo[:1], 5) for name, run in runs.items()}
figure = plot_bars(list(times), list(times.values()), "milliseconds", f"ResNet-18, one thread, {torch.isa_name()}")
figure.savefig("001_latency.png", dpi=110)
