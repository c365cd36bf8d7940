"""The .pt2 archive both ways: PyTorch opens what pt2q wrote, pt2q opens what PyTorch wrote."""

from __future__ import annotations

import functools
import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import peer
import pytest
import torch
import zoo
from bridge import to_pt2q, to_torch
from quantizers import SETUPS

import pt2q

pytestmark = pytest.mark.filterwarnings("ignore")

SHARED = Path(os.environ.get("PT2Q_SHARED", Path(__file__).resolve().parents[3] / "shared"))
OPEN = sorted((SHARED / "coverage" / "open").glob("*.pt2"))
NAMES = ("resnet18_narrow", "mobilenet_v2", "squeezenet", "vit", "bert", "dlrm", "vae")


@functools.cache
def pair(name: str) -> peer.Pair:
    return peer.capture(*zoo.ZOO[name](), strict=True)


@functools.cache
def converted(name: str) -> tuple[Any, Any]:
    ours, theirs = peer.prepare(pair(name), SETUPS["x86"].ours(), SETUPS["x86"].theirs())
    peer.calibrate(ours, theirs, [pair(name).inputs])
    return peer.convert(ours, theirs)


def saved(model: Any, inputs: tuple[torch.Tensor, ...]) -> bytes:
    """Exported again and saved by pt2q."""
    file = io.BytesIO()
    pt2q.export.save(pt2q.export.export(model, tuple(to_pt2q(x) for x in inputs)), file)
    return file.getvalue()


def torch_run(archive: bytes, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return as_list(torch.export.load(io.BytesIO(archive)).module()(*inputs))


def our_run(model: Any, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    return [to_torch(y) for y in as_list(model(*(to_pt2q(x) for x in inputs)))]


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def assert_equal(got: list[torch.Tensor], want: list[torch.Tensor]) -> None:
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)


def load(archive: bytes) -> Any:
    return pt2q.export.load(io.BytesIO(archive)).module()


@pytest.mark.parametrize("name", NAMES)
def test_torch_opens_our_float_program(name: str) -> None:
    p = pair(name)
    with torch.no_grad():
        assert_equal(torch_run(saved(load(p.archive), p.inputs), p.inputs), as_list(p.theirs(*p.inputs)))


@pytest.mark.parametrize("name", NAMES)
def test_torch_opens_our_quantized_program(name: str) -> None:
    """In PyTorch, our converted program gives exactly what torchao's gives."""
    p = pair(name)
    ours, theirs = converted(name)
    with torch.no_grad():
        assert_equal(torch_run(saved(ours, p.inputs), p.inputs), as_list(theirs(*p.inputs)))


@pytest.mark.parametrize("name", NAMES)
def test_reload_is_exact(name: str) -> None:
    p = pair(name)
    for model in (load(p.archive), converted(name)[0]):
        again = load(saved(model, p.inputs))
        assert_equal(our_run(again, p.inputs), our_run(model, p.inputs))


@pytest.mark.parametrize("name", NAMES)
def test_we_open_torchs_quantized_program(name: str) -> None:
    p = pair(name)
    ours, theirs = converted(name)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(theirs, p.inputs), file)
    assert_equal(our_run(load(file.getvalue()), p.inputs), our_run(ours, p.inputs))


def test_size_ratio() -> None:
    """int8 weights are stored once: the quantized file has at most 0.30 of the float file's size."""
    torch.manual_seed(0)
    model = zoo.random_statistics(zoo.resnet18()).eval()
    x = torch.randn(1, 3, 32, 32)
    p = peer.capture(model, (x,))
    ours = load(p.archive)
    before = len(saved(ours, (x,)))
    prepared = pt2q.ao.quantization.quantize_pt2e.prepare_pt2e(ours, SETUPS["x86"].ours())
    prepared(to_pt2q(x))
    after = len(saved(pt2q.ao.quantization.quantize_pt2e.convert_pt2e(prepared), (x,)))
    assert after <= 0.30 * before


class Writes(torch.nn.Module):
    """Writes through a view; what shares its memory is read afterwards."""

    def __init__(self, take: Any) -> None:
        super().__init__()
        self.take = take

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        base = x * 1
        before = base[1:]
        view = self.take(base)
        view.mul_(2)
        again = base.transpose(0, 1)
        view.add_(3)
        base.sub_(1)
        return base, view, before, again


TAKES = {
    "view": lambda t: t.view(-1),
    "slice": lambda t: t[:, 1:-1:2],
    "select": lambda t: t[-1],
    "transposed": lambda t: t.transpose(0, 1)[2],
    "permuted": lambda t: t.view(2, 2, 3).permute(2, 0, 1)[1],
    "unsqueezed": lambda t: t.t().unsqueeze(0)[:, 1:],
    "unflattened": lambda t: t.unflatten(1, (3, 2))[:, :, 0],
}


@pytest.mark.parametrize("take", TAKES)
def test_writes_through_views(take: str) -> None:
    x = torch.arange(12.0).view(2, 6)
    module = Writes(TAKES[take])
    p = peer.capture(module, (x,))
    got = our_run(load(p.archive), (x,))
    assert_equal(got, module(x))
    assert not any(str(n.target).split(".")[1].endswith("_") for n in load(p.archive).graph.nodes if n.op == "call_function")


@pytest.mark.skipif(not OPEN, reason=f"{SHARED}/coverage/open is absent: no open models to read")
@pytest.mark.parametrize("path", OPEN, ids=lambda p: p.stem)
def test_open_models(path: Path) -> None:
    """Programs exported elsewhere: our outputs match the recorded ones, and PyTorch reads our copy."""
    program = pt2q.export.load(str(path))
    arrays = np.load(path.with_suffix(".npz"))
    inputs = [arrays[f"in{i}"] for i in range(sum(k.startswith("in") for k in arrays))]
    model = program.module()
    outputs = [np.asarray(y) for y in as_list(model(*inputs))]
    want = [arrays[f"out{i}"] for i in range(sum(k.startswith("out") for k in arrays))]
    for a, b in zip(outputs, want, strict=True):
        # float32 sums in another order: relative to the largest value of the output
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-4 * max(1.0, float(np.abs(b).max())))
    file = io.BytesIO()
    pt2q.export.save(program, file)
    tensors = tuple(torch.from_numpy(a) for a in inputs)
    for a, b in zip(torch_run(file.getvalue(), tensors), want, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=0, atol=2e-4 * max(1.0, float(np.abs(b).max())))
