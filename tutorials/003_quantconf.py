# %% [markdown]
# # A configuration you can read and edit: QuantConf
#
# Document 003 describes the quantization of the Intel extension for PyTorch: calibrate the model as it
# is, write what was found into a JSON file, convert by that file. The file is the interesting part: it
# can be read, compared and changed by hand.

# %%
import json
import pathlib
import tempfile

import numpy as np
from digits import accuracy, calibration, load_model, sqnr, test

import pt2q as torch
import pt2q.ipex as ipex
from pt2q.debug import plot_bars

model = load_model()
x = torch.from_numpy(calibration)

# %% [markdown]
# ## Calibrate
#
# Inside the block every quantizable operator call records its range; the model itself is not changed.

# %%
conf = ipex.quantization.QuantConf(qscheme=torch.per_tensor_affine)
with torch.no_grad():
    for start in range(0, len(x), 50):
        with ipex.quantization.calibrate(conf):
            model(x[start : start + 50])
file = pathlib.Path(tempfile.mkdtemp()) / "configure.json"
conf.save(file)
entries = json.loads(file.read_text())
print(len(entries), "operator calls; the first:")
print(json.dumps({k: v for k, v in entries[0].items() if k != "weight_scales"}, indent=1))

# %% [markdown]
# ## What the file says
#
# Every entry names where its inputs come from (`inputs_flow`), so the file is a map of the network. The
# activation scales show where values are large.

# %%
convolutions = [e for e in entries if e["name"] in ("conv2d", "linear")]
names = [f"{e['name']} {e['id']}" for e in convolutions]
figure = plot_bars(names, [e["input_scales"][0] for e in convolutions], "step between two of the 256 levels", "Input scales")
figure.savefig("003_scales.png", dpi=110)

# %% [markdown]
# ## Convert and run
#
# `graph_for` shows the stages the document describes, from the captured graph to the kernels.

# %%
conf = ipex.quantization.QuantConf(file)
with torch.no_grad():
    converted = ipex.quantization.convert(model, conf, x[:2])
print(f"accuracy: float32 {accuracy(model):.4f}, int8 {accuracy(converted):.4f}")
print("\n".join(line[:150] for line in converted.graph_for(test[:1]).splitlines()[:25]))

# %% [markdown]
# ## Edit the file
#
# Turning the first convolution off is one change in the JSON. A wrong entry is named, not ignored.

# %%
entries[0]["inputs_quantized"] = [False]
file.write_text(json.dumps(entries, indent=4))
without_first = ipex.quantization.convert(model, ipex.quantization.QuantConf(file), x[:2])
ratios = [sqnr(model(test), m(test)) for m in (converted, without_first)]
figure = plot_bars(["all layers in int8", "first layer in float"], ratios, "dB (more is better)", "Logits against float32")
figure.savefig("003_edited.png", dpi=110)

entries[0]["input_scales"] = ["wide"]
file.write_text(json.dumps(entries))
try:
    ipex.quantization.QuantConf(file)
except (ValueError, TypeError) as error:
    print(error)

# %% [markdown]
# ## Deploy
#
# The converted model is saved whole. Sizes that were not seen at conversion work as well: images of
# other sizes, sequences of other lengths.

# %%
converted.save(str(file.with_name("digits_int8.pt")))
loaded = torch.jit.load(str(file.with_name("digits_int8.pt")))
print("largest difference after loading:", float(np.abs(loaded(test) - converted(test)).max()))
print("12x12 images:", tuple(loaded(torch.rand(3, 1, 12, 12)).shape))
