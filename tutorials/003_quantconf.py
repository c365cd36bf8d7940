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

import matplotlib.pyplot as plt
import numpy as np

import pt2q as torch
import pt2q.ipex as ipex
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


model = load_model()
x = torch.from_numpy(train)

# %% [markdown]
# ## Calibrate
#
# Inside the block every quantizable operator call records its range; the model itself is not changed.

# %%
conf = ipex.quantization.QuantConf(qscheme=torch.per_tensor_affine)
with torch.no_grad():
    for start in range(0, len(train), 50):
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
bars([f"{e['name']} {e['id']}" for e in convolutions], [e["input_scales"][0] for e in convolutions],
            "step of the input's 256 levels", "Input scales", "003_1.png")  # fmt: skip

# %% [markdown]
# ## Convert and run
#
# `graph_for` shows the stages the document describes, from the captured graph to the kernels.

# %%
conf = ipex.quantization.QuantConf(file)
with torch.no_grad():
    converted = ipex.quantization.convert(model, conf, x[:2])
test = torch.from_numpy(images)
print(f"{100 * (np.asarray(converted(test)).argmax(1) == labels).mean():.2f} % right")
print("\n".join(line[:150] for line in converted.graph_for(test[:1]).splitlines()[:25]))

# %% [markdown]
# ## Edit the file
#
# Turning the first convolution off is one change in the JSON. A wrong entry is named, not ignored.

# %%
entries[0]["inputs_quantized"] = [False]
file.write_text(json.dumps(entries, indent=4))
without_first = ipex.quantization.convert(model, ipex.quantization.QuantConf(file), x[:2])
reference = np.asarray(model(images))
ratios = [sqnr(reference, np.asarray(m(test))) for m in (converted, without_first)]
bars(["all layers", "first layer in float"], ratios, "dB (more is better)", "Logits against float32", "003_2.png")

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
print("largest difference after loading:", float(abs(loaded(test) - converted(test)).max()))
print("12x12 images:", tuple(loaded(torch.rand(3, 1, 12, 12)).shape))
