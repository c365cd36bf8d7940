# %% [markdown]
# # Post-training quantization for Intel GPUs
# The flow for the device `"xpu"`: capture a model, let `XPUInductorQuantizer` decide what becomes int8, calibrate, convert,
# compile. This page also compares the two ways of quantizing activations, looks at what the observers saw, and adds bfloat16.
#
# It runs without a GPU: `allow_cpu_fallback` lets the CPU engine stand in, with the same numbers.

# %%
import copy

from digits import accuracy, calibration, load_model, milliseconds, test

import pt2q as torch
from pt2q.ao.quantization.observer import HistogramObserver, PerChannelMinMaxObserver
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import xpu_inductor_quantizer as xpuiq
from pt2q.ao.quantization.quantizer.quantizer import QuantizationSpec
from pt2q.ao.quantization.quantizer.xnnpack_quantizer_utils import QuantizationConfig
from pt2q.debug import plot_bars, plot_observers

print("Intel GPUs:", torch.xpu.device_count())
torch.xpu.allow_cpu_fallback()

# %% [markdown]
# ## A real model and real data
# A 14-layer residual network that reads handwritten digits (UCI, 8x8 pixels); `digits.py` beside this page loads both. 100 training
# images calibrate, the 540 test images measure.

# %%
model = load_model().to("xpu")
example = (torch.from_numpy(test[:54]).to("xpu"),)


def on_device(run):
    return lambda batch: run(torch.from_numpy(batch).to("xpu")).float().cpu()


float_accuracy = accuracy(on_device(torch.compile(model)))
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
    prepared(torch.from_numpy(calibration[:54]).to("xpu"))
    return convert_pt2e(copy.deepcopy(prepared)), prepared


asymmetric, observed = quantize(xpuiq.get_default_xpu_inductor_quantization_config())
symmetric, _ = quantize(symmetric_config())

# %% [markdown]
# ## What the observers saw
# A histogram observer keeps the distribution of an activation and chooses the range with the smallest error. The red lines are the
# range it chose: values outside are clamped. Behind a ReLU all integers lie on the positive side.

# %%
plot_observers(observed).savefig("000_observers.png", dpi=110)

# %% [markdown]
# ## Compile and compare
# Nothing has to be switched on. Under `autocast` the same graph becomes int8-mixed-bf16: layers still compute in int8, but where no
# quantize follows they give bfloat16, and pointwise operators pass it on.

# %%
x = example[0]
variants = {"asymmetric": torch.compile(asymmetric), "symmetric": torch.compile(symmetric)}
results = {name: accuracy(on_device(run)) for name, run in variants.items()}
with torch.amp.autocast(device_type="xpu", dtype=torch.bfloat16):
    mixed = torch.compile(asymmetric)
    results["int8-mixed-bf16"] = accuracy(on_device(mixed))
    for step in mixed.steps(x):
        if step["op"].startswith("pt2q.q"):
            print(f"{step['op']:32} {step['dtype']:20} {step['kernel']}")
for name, value in results.items():
    print(f"{name:16} accuracy {value:.4f}")
assert min(results.values()) > float_accuracy - 0.02


# %%
times = {name: milliseconds(run, x) for name, run in {"float32": torch.compile(model), **variants}.items()}
with torch.amp.autocast(device_type="xpu", dtype=torch.bfloat16):
    times["int8-mixed-bf16"] = milliseconds(mixed, x)
figure = plot_bars(list(times), list(times.values()), f"milliseconds for {len(x)} images", torch.xpu.get_device_name())
figure.savefig("000_latency.png", dpi=110)
