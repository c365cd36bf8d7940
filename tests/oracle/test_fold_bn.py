"""Batch norm folding in prepare_pt2e against torchao: folded weights and biases bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from bridge import to_pt2q, to_torch
from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e as torch_prepare
from torchao.quantization.pt2e.quantizer import Quantizer as TorchQuantizer

import pt2q
from pt2q.ao.quantization.quantize_pt2e import prepare_pt2e
from pt2q.ao.quantization.quantizer import Quantizer

pytestmark = pytest.mark.filterwarnings("ignore")


class TorchNothing(TorchQuantizer):
    def annotate(self, model: Any) -> Any:
        return model

    def validate(self, model: Any) -> None: ...


class Nothing(Quantizer):
    def annotate(self, model: Any) -> Any:
        return model


def block(nn: Any, op: str, args: tuple[Any, ...], kwargs: dict[str, Any], dims: int, affine: bool) -> Any:
    """op -> batch norm, as a module of either library."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.op = getattr(nn, op)(*args, **kwargs)
            self.bn = getattr(nn, f"BatchNorm{dims}d")(args[1], eps=1e-3, affine=affine)

        def forward(self, x: Any) -> Any:
            return self.bn(self.op(x))

    return Block()


CASES = [
    ("Conv1d", (4, 6, 3), {}, 1, (2, 4, 9)),
    ("Conv1d", (4, 6, 3), {"bias": False, "padding": "same"}, 1, (2, 4, 9)),
    ("Conv2d", (4, 6, 3), {}, 2, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, 3), {"bias": False}, 2, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, (3, 1)), {"groups": 2, "stride": 2, "dilation": 2, "padding": 1}, 2, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, 3), {"padding": "same"}, 2, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, 3), {"padding": "valid", "bias": False}, 2, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "reflect"}, 2, (2, 4, 9, 8)),
    ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "circular"}, 2, (2, 4, 9, 8)),
    ("Conv3d", (2, 3, 2), {}, 3, (1, 2, 4, 4, 4)),
    ("Conv3d", (2, 3, 2), {"bias": False}, 3, (1, 2, 4, 4, 4)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2}, 1, (2, 4, 9)),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}, 2, (2, 4, 5, 6)),
    ("ConvTranspose2d", (4, 6, 3), {"bias": False}, 2, (2, 4, 5, 6)),
    ("ConvTranspose3d", (2, 3, 2), {}, 3, (1, 2, 4, 4, 4)),
    ("Linear", (5, 7), {}, 1, (4, 5)),
    ("Linear", (5, 7), {"bias": False}, 1, (4, 5)),
]


def randomized(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    g = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=g)
            value.copy_(drawn.abs() + 0.1 if "var" in name else drawn)
    return model.eval()


def ops_of(model: Any) -> list[str]:
    names = [str(n.target).split("aten.")[-1] for n in model.graph.nodes if n.op == "call_function" and "aten" in str(n.target)]
    return [n for n in names if not n.startswith(("sym_", "_assert"))]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("case", CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES])
def test_folding(case, affine) -> None:
    op, args, kwargs, dims, shape = case
    theirs = randomized(block(torch.nn, op, args, kwargs, dims, affine), 1)
    ours = block(pt2q.nn, op, args, kwargs, dims, affine).eval()
    ours.load_state_dict({k: to_pt2q(v) for k, v in theirs.state_dict().items()})
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    want_output = theirs(x)
    captured = torch.export.export(theirs, (x,), strict=True).module()
    if op == "Linear" and not affine:  # torchao raises TypeError: it multiplies None
        gm = prepare_pt2e(pt2q.export.export(ours, (x.numpy(),)).module(), Nothing())
        assert ops_of(gm) == ["linear.default"]
        np.testing.assert_allclose(gm(x.numpy()), want_output.detach().numpy(), rtol=1e-4, atol=1e-4)
        return
    prepared = torch_prepare(captured, TorchNothing())
    gm = prepare_pt2e(pt2q.export.export(ours, (x.numpy(),)).module(), Nothing())

    assert not [n for n in ops_of(gm) if "batch_norm" in n]
    theirs_left = [n for n in ops_of(prepared) if "batch_norm" in n]
    if theirs_left:  # what torchao leaves alone, e.g. convolutions with a padding keyword
        np.testing.assert_allclose(gm(x.numpy()), want_output.detach().numpy(), rtol=1e-4, atol=1e-4)
        return
    folded = {k: v for k, v in prepared.state_dict().items() if k.startswith("op.")}
    mine = gm.state_dict()
    for key, value in folded.items():
        assert torch.equal(to_torch(mine[key]), value), key
    np.testing.assert_allclose(gm(x.numpy()), want_output.detach().numpy(), rtol=1e-4, atol=1e-4)


def test_transposed_groups() -> None:
    """torchao's formula cannot be applied to grouped transposed convolutions; ours keeps the values."""
    theirs = randomized(block(torch.nn, "ConvTranspose2d", (4, 6, 3), {"groups": 2}, 2, True), 3)
    ours = block(pt2q.nn, "ConvTranspose2d", (4, 6, 3), {"groups": 2}, 2, True).eval()
    ours.load_state_dict({k: to_pt2q(v) for k, v in theirs.state_dict().items()})
    x = torch.randn(2, 4, 5, 6)
    gm = prepare_pt2e(pt2q.export.export(ours, (x.numpy(),)).module(), Nothing())
    assert ops_of(gm) == ["conv_transpose2d.input"]
    np.testing.assert_allclose(gm(x.numpy()), theirs(x).detach().numpy(), rtol=1e-4, atol=1e-4)


def chunked(nn: Any, lib: Any) -> Any:
    class Chunked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 5, 3)
            self.bn = nn.BatchNorm1d(5)

        def forward(self, x: Any) -> Any:
            return lib.cat([self.bn(self.conv(c)) for c in lib.chunk(x, 3, -1)], -1)

    return Chunked()


def test_one_module_called_several_times() -> None:
    theirs = randomized(chunked(torch.nn, torch), 4)
    ours = chunked(pt2q.nn, pt2q).eval()
    ours.load_state_dict({k: to_pt2q(v) for k, v in theirs.state_dict().items()})
    x = torch.randn(2, 3, 12)
    want = theirs(x).detach().numpy()
    prepared = torch_prepare(torch.export.export(theirs, (x,), strict=True).module(), TorchNothing())
    gm = prepare_pt2e(pt2q.export.export(ours, (x.numpy(),)).module(), Nothing())
    assert ops_of(gm).count("conv1d.default") == 3 and not any("batch_norm" in n for n in ops_of(gm))
    for key in ("conv.weight", "conv.bias"):
        assert torch.equal(to_torch(gm.state_dict()[key]), prepared.state_dict()[key])
    np.testing.assert_allclose(gm(x.numpy()), want, rtol=1e-4, atol=1e-4)


def test_linear_on_three_dimensions_is_left_alone() -> None:
    def make(nn: Any) -> Any:
        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.op, self.bn = nn.Linear(5, 7), nn.BatchNorm1d(4)

            def forward(self, x: Any) -> Any:
                return self.bn(self.op(x))

        return Block().eval()

    x = np.random.default_rng(0).standard_normal((2, 4, 5)).astype(np.float32)
    with pytest.warns(UserWarning, match=r"Not fusing linear\+bn"):
        gm = prepare_pt2e(pt2q.export.export(make(pt2q.nn), (x,)).module(), Nothing())
    captured = torch.export.export(make(torch.nn), (torch.from_numpy(x),), strict=True).module()
    assert ops_of(gm) == ops_of(torch_prepare(captured, TorchNothing()))
