# %% [markdown]
# # Modules and scripts: the older ways to quantize
#
# Document 004 shows two interfaces that came before export: *eager mode*, where modules are exchanged
# for quantized ones, and *TorchScript mode*, where a traced graph is. Both still work here, on the same
# observers, the same converter and the same kernels as everything else.

# %%
from digits import accuracy, calibration, load_model, sqnr, test

import pt2q as torch
from pt2q import nn
from pt2q.debug import plot_bars
from pt2q.quantization.quantize_jit import convert_jit, prepare_jit

batches = [torch.from_numpy(calibration[i : i + 50]) for i in (0, 50)]

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
reference = model(test)

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
print(f"{sqnr(reference, eager(test)):.1f} dB against float32")

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
float_logits = trained(test)
for name, (qscheme, weight) in settings.items():
    script = torch.jit.trace(trained, batches[0])
    activation = torch.quantization.observer.MinMaxObserver.with_args(
        qscheme=qscheme, reduce_range=False, dtype=torch.quint8
    )
    script = prepare_jit(script, {"": torch.quantization.QConfig(activation=activation, weight=weight)})
    for batch in batches:
        script(batch)
    script = convert_jit(script)
    names.append(name)
    ratios.append(sqnr(float_logits, script(test)))
    print(f"{name}: accuracy {accuracy(script):.4f}")
figure = plot_bars(names, ratios, "dB (more is better)", "Logits against float32")
figure.savefig("004_settings.png", dpi=110)

# %% [markdown]
# `graph_for` prints what runs; the fusions carry the names the document uses.

# %%
print("\n".join(line[:150] for line in script.graph_for(test[:1]).splitlines() if "conv" in line or "linear" in line))
