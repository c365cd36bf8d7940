"""Tags that a quantizer puts on nodes reach the quantize and dequantize nodes, as in torchao."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bridge import to_pt2q
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e as torch_convert
from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e as torch_prepare
from torchao.testing.pt2e import _xnnpack_quantizer as torch_xnnpack

import pt2q
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import xnnpack_quantizer as our_xnnpack

pytestmark = pytest.mark.filterwarnings("ignore")
TAGGED = ("conv2d", "linear", "adaptive_avg_pool2d", "max_pool2d", "relu", "add")


def tagging(base: Any, tags: bool = True) -> Any:
    class Tagging(base):
        def annotate(self, model: Any) -> Any:
            model = super().annotate(model)
            for n in model.graph.nodes:
                kind = str(n.target).split("aten.")[-1].split(".")[0]
                if n.op == "call_function" and kind in TAGGED and tags:
                    n.meta["quantization_tag"] = kind
            return model

    return Tagging()


def net(nn: Any, lib: Any) -> Any:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
            self.relu = nn.ReLU()
            self.pool = nn.AdaptiveAvgPool2d((1, 1))
            self.linear = nn.Linear(8, 4)

        def forward(self, x: Any) -> Any:
            a = self.relu(self.conv(x))
            return self.linear(lib.flatten(self.pool(a + self.conv2(a)), 1))

    return Net().eval()


def tags_of(model: Any) -> list[tuple[str, Any]]:
    out = []
    for n in model.graph.nodes:
        name = str(n.target).replace("quantized_decomposed::", "quantized_decomposed.")
        if n.op == "call_function" and "quantized_decomposed" in name:
            out.append((name.split("quantized_decomposed.")[-1], n.meta.get("quantization_tag")))
    return sorted(out, key=str)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("fold", [False, True])
def test_tags(per_channel, fold) -> None:
    x = torch.randn(2, 3, 8, 8)
    theirs = net(torch.nn, torch)
    ours = net(pt2q.nn, pt2q)
    ours.load_state_dict({k: to_pt2q(v) for k, v in theirs.state_dict().items()})
    quantizer = tagging(torch_xnnpack.XNNPACKQuantizer)
    quantizer.set_global(torch_xnnpack.get_symmetric_quantization_config(is_per_channel=per_channel))
    prepared = torch_prepare(torch.export.export(theirs, (x,), strict=True).module(), quantizer)
    prepared(x)
    want = tags_of(torch_convert(prepared, fold_quantize=fold))

    quantizer = tagging(our_xnnpack.XNNPACKQuantizer)
    quantizer.set_global(our_xnnpack.get_symmetric_quantization_config(is_per_channel=per_channel))
    gm = prepare_pt2e(pt2q.export.export(ours, (x.numpy(),)).module(), quantizer)
    gm(x.numpy())
    got = tags_of(convert_pt2e(gm, fold_quantize=fold))
    assert got == want
