# %% [markdown]
# # Post-training quantization for Intel GPUs
# The flow for the device `"xpu"`: capture a model, let `XPUInductorQuantizer` decide what becomes int8, calibrate, convert,
# compile. This page also compares the two ways of quantizing activations, looks at what the observers saw, and adds bfloat16.
#
# It runs without a GPU: `allow_cpu_fallback` lets the CPU engine stand in, with the same numbers.

# %%
import pathlib
import time

import matplotlib.pyplot as plt
import numpy as np

import pt2q as torch
from pt2q.ao.quantization.observer import HistogramObserver, PerChannelMinMaxObserver
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import xpu_inductor_quantizer as xpuiq
from pt2q.ao.quantization.quantizer.quantizer import QuantizationSpec
from pt2q.ao.quantization.quantizer.xnnpack_quantizer_utils import QuantizationConfig
from pt2q.vision import models

print("Intel GPUs:", torch.xpu.device_count())
torch.xpu.allow_cpu_fallback()

# %% [markdown]
# ## A real model and real data
# A 14-layer residual network that reads handwritten digits (UCI, 8x8 pixels). 100 training images calibrate, the 540 test images
# measure.

# %%
folder = next(p for p in [pathlib.Path(".").resolve(), *pathlib.Path(".").resolve().parents] if (p / "examples/demo").is_dir())
data = np.load(folder / "examples/demo/digits.npz")
images = data["images"][:, None].astype(np.float32) / 16
test, labels = images[data["is_test"]], data["labels"][data["is_test"]]
calibration = images[~data["is_test"]][:100]

model = models.CifarResNet(2, in_channels=1)
model.load_state_dict(torch.load(folder / "examples/demo/digits_resnet.safetensors"))
model = model.eval().to("xpu")


def accuracy(run):
    scores = np.concatenate([np.asarray(run(torch.from_numpy(b).to("xpu")).float()) for b in np.split(test, 10)])
    return float((scores.argmax(1) == labels).mean())


example = (torch.from_numpy(test[:54]).to("xpu"),)
float_accuracy = accuracy(torch.compile(model))
print(f"float32 accuracy: {float_accuracy:.4f}")

# %% [markdown]
# ## Two configurations
# The default gives activations a zero point (asymmetric). Symmetric activations fix the zero point at 0, which saves work in the
# kernels and wastes the negative half of the range behind every ReLU. The weights are int8 per output channel in both.


# %%
def symmetric_config():
    activation = QuantizationSpec(
        dtype=torch.int8, quant_min=-128, quant_max=127, qscheme=torch.per_tensor_symmetric,
        observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-12),
    )  # fmt: skip
    weight = QuantizationSpec(
        dtype=torch.int8, quant_min=-128, quant_max=127, qscheme=torch.per_channel_symmetric, ch_axis=0,
        observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=2**-12),
    )  # fmt: skip
    return QuantizationConfig(activation, activation, weight, None, False)


def quantize(config):
    exported = torch.export.export_for_training(model, example).module()
    prepared = prepare_pt2e(exported, xpuiq.XPUInductorQuantizer().set_global(config))
    for batch in np.split(calibration[:54], 1):
        prepared(torch.from_numpy(batch).to("xpu"))
    observers = {n.target: getattr(prepared, n.target) for n in prepared.graph.nodes if n.op == "call_module"}
    return convert_pt2e(prepared), observers


asymmetric, seen = quantize(xpuiq.get_default_xpu_inductor_quantization_config())
symmetric, _ = quantize(symmetric_config())

# %% [markdown]
# ## What the observers saw
# A histogram observer keeps the distribution of an activation and chooses the range with the smallest error. The red lines are the
# range it chose: values outside are clamped.

# %%
histograms = [o for o in seen.values() if type(o).__name__ == "HistogramObserver"][:4]
figure, axes = plt.subplots(1, len(histograms), figsize=(12, 2.6))
for axis, observer in zip(axes, histograms):
    counts = np.asarray(observer.histogram)
    edges = np.linspace(float(observer.min_val), float(observer.max_val), counts.size + 1)
    axis.bar(edges[:-1], counts, width=np.diff(edges), align="edge")
    scale, zero_point = (float(v) for v in observer.calculate_qparams())
    for bound in (-128, 127):
        axis.axvline((bound - zero_point) * scale, color="tab:red")
    axis.set_yscale("log")
    axis.set_title(f"scale {scale:.4f}, zero point {zero_point:.0f}", fontsize=9)
figure.tight_layout()
figure.savefig("000_observers.png")

# %% [markdown]
# ## Compile and compare
# Nothing has to be switched on. Under `autocast` the same graph becomes int8-mixed-bf16: layers still compute in int8, but where no
# quantize follows they give bfloat16, and pointwise operators pass it on.

# %%
x = example[0]
variants = {"asymmetric": torch.compile(asymmetric), "symmetric": torch.compile(symmetric)}
results = {name: accuracy(run) for name, run in variants.items()}
with torch.amp.autocast(device_type="xpu", dtype=torch.bfloat16):
    mixed = torch.compile(asymmetric)
    results["int8-mixed-bf16"] = accuracy(mixed)
    for step in mixed.steps(x):
        if step["op"].startswith("pt2q.q"):
            print(f"{step['op']:32} {step['dtype']:20} {step['kernel']}")
for name, value in results.items():
    print(f"{name:16} accuracy {value:.4f}")
assert min(results.values()) > float_accuracy - 0.02


# %%
def milliseconds(run, repeats=20):
    run(x)
    begin = time.perf_counter()
    for _ in range(repeats):
        run(x)
    return (time.perf_counter() - begin) / repeats * 1e3


times = {"float32": milliseconds(torch.compile(model)), **{name: milliseconds(run) for name, run in variants.items()}}
with torch.amp.autocast(device_type="xpu", dtype=torch.bfloat16):
    times["int8-mixed-bf16"] = milliseconds(mixed)
figure, axis = plt.subplots(figsize=(6, 2.2))
axis.barh(list(times), list(times.values()))
axis.invert_yaxis()
axis.set_xlabel(f"milliseconds for {len(x)} images, {torch.xpu.get_device_name()}")
figure.tight_layout()
figure.savefig("000_latency.png")
