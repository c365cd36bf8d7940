"""The PT2E flow on real models: prepare, multi-batch calibration, convert; number by number as torchao.

ResNet-18 has random batch-norm statistics; the others carry their trained weights and see real
images, both from the shared data folder (skipped where that is absent).
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peer
import pytest
import torch
import zoo
from bridge import assert_same, to_pt2q, to_torch
from quantizers import SETUPS

pytestmark = pytest.mark.filterwarnings("ignore")

SHARED = Path(os.environ.get("PT2Q_SHARED", Path(__file__).resolve().parents[3] / "shared"))
DATA = SHARED / "data"
Batches = list[tuple[torch.Tensor, ...]]


def need(*files: str) -> None:
    for file in files:
        if not (DATA / file).exists():
            pytest.skip(f"{DATA / file} is absent: real weights and images are not part of the repository")


def with_weights(build: Any, file: str) -> torch.nn.Module:
    from safetensors.torch import load_file

    model = build.eval()
    model.load_state_dict(load_file(DATA / file), strict=False)
    return model


def nets() -> Any:
    sys.path.insert(0, str(DATA))
    try:
        import nets as module
    finally:
        sys.path.remove(str(DATA))
    return module


def imagenet(count: int, size: int, rot180: bool = False) -> torch.Tensor:
    """The first images of the sample, resized and normalised as data/README.md says."""
    from PIL import Image

    images = []
    for path in sorted((DATA / "imagenet_sample").glob("*.[jJ]*"))[:count]:
        image = np.asarray(Image.open(path).convert("RGB").resize((size, size)), np.float32) / 255
        images.append(image[::-1, ::-1] * 2 - 1 if rot180 else (image - 0.45) / 0.225)
    assert len(images) == count
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def in_batches(images: torch.Tensor, size: int) -> Batches:
    return [(part,) for part in images.split(size)]


def resnet18() -> tuple[torch.nn.Module, Batches]:
    torch.manual_seed(18)
    model = zoo.random_statistics(zoo.resnet18()).eval()
    # Smooth images with a different brightness per batch: the histograms must grow.
    noise = torch.nn.functional.interpolate(torch.randn(6, 3, 16, 16), size=64, mode="bilinear")
    return model, in_batches(noise * torch.tensor([0.5, 0.5, 1.0, 1.0, 2.0, 2.0]).view(6, 1, 1, 1), 2)


def mobilenet_v2() -> tuple[torch.nn.Module, Batches]:
    need("mobilenet_v2_imagenet_rot180.safetensors", "imagenet_sample")
    model = with_weights(nets().MobileNetV2(), "mobilenet_v2_imagenet_rot180.safetensors")
    return model, in_batches(imagenet(4, 128, rot180=True), 2)


def squeezenet() -> tuple[torch.nn.Module, Batches]:
    need("squeezenet1_1_imagenet.safetensors", "imagenet_sample")
    model = with_weights(nets().SqueezeNet11(), "squeezenet1_1_imagenet.safetensors")
    return model, in_batches(imagenet(4, 128), 2)


def resnet20() -> tuple[torch.nn.Module, Batches]:
    need("resnet20_cifar10.safetensors", "cifar10_test1000.npz")
    model = with_weights(nets().CifarResNet(3), "resnet20_cifar10.safetensors")
    images = np.load(DATA / "cifar10_test1000.npz")["calib_images"][:12].astype(np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    return model, in_batches(torch.from_numpy(((images - mean) / std).transpose(0, 3, 1, 2).copy()), 4)


MODELS = {f.__name__: f for f in (resnet18, mobilenet_v2, squeezenet, resnet20)}
CASES = [(m, s) for m in MODELS for s in ("x86", "xnnpack longer list")]


@functools.cache
def captured(name: str) -> tuple[peer.Pair, Batches]:
    model, batches = MODELS[name]()
    return peer.capture(model, batches[0], strict=True), batches


@dataclass
class Outcome:
    """What one run through the flow left behind: convert takes the models over."""

    annotations: tuple[Any, Any]  # ours, theirs
    observers: tuple[Any, Any]
    operators: tuple[Any, Any]
    parameters: int  # how many scales and zero points were compared
    mismatch: str  # the first difference among them
    ours: Any
    theirs: Any


@functools.cache
def flow(name: str, setup: str) -> Outcome:
    pair, batches = captured(name)
    ours, theirs = peer.prepare(pair, SETUPS[setup].ours(), SETUPS[setup].theirs())
    annotations = peer.annotations(ours), peer.annotations(theirs)
    observers = peer.observers(ours), peer.observers(theirs)
    operators = peer.operators(ours), peer.operators(theirs)
    peer.calibrate(ours, theirs, batches)
    mismatch, count = "", 0
    try:
        count = peer.assert_same_parameters(ours, theirs)
    except AssertionError as e:
        mismatch = str(e) or "different"
    return Outcome(annotations, observers, operators, count, mismatch, *peer.convert(ours, theirs))


def sqnr(got: torch.Tensor, want: torch.Tensor) -> float:
    noise = (got.double() - want.double()).norm()
    return float("inf") if noise == 0 else float(20 * torch.log10(want.double().norm() / noise))


@pytest.mark.parametrize(("name", "setup"), CASES)
def test_names_order_and_groups_of_observers(name: str, setup: str) -> None:
    found = flow(name, setup)
    for ours, theirs in (found.annotations, found.observers, found.operators):
        assert len(theirs) > 20
        assert ours == theirs


@pytest.mark.parametrize(("name", "setup"), CASES)
def test_scales_and_zero_points_bit_for_bit(name: str, setup: str) -> None:
    assert len(captured(name)[1]) >= 2  # several batches
    found = flow(name, setup)
    assert found.mismatch == ""
    assert found.parameters == len({group for _, group, _ in found.observers[1].values()})


@pytest.mark.parametrize(("name", "setup"), CASES)
def test_converted_graph_and_outputs(name: str, setup: str) -> None:
    ours, theirs = flow(name, setup).ours, flow(name, setup).theirs
    pairs = [
        {n.name: peer.described_args(n.args, peer.names(m)) for n in m.graph.nodes if "quantize_per" in n.name}
        for m in (ours, theirs)
    ]
    assert len(pairs[1]) > 40
    assert pairs[0] == pairs[1]  # scales, zero points, ranges, axes and operands of every q/dq pair
    state, their_state = ours.state_dict(), dict(theirs.named_buffers())
    frozen = [k for k in their_state if k.startswith("_frozen_param")]
    assert len(frozen) >= 10
    for key in frozen:
        assert_same(state[key], their_state[key])
    x = captured(name)[1][-1][0]
    with torch.no_grad():
        expected = theirs(x)
    got = to_torch(ours(to_pt2q(x)))
    # The same integers and scales, but float32 sums in another order: a value on a rounding border may
    # move by one step, and later layers spread it, most in MobileNetV2's 52 narrow layers. Its 8-bit
    # quantization leaves 12 dB against float32, that of the others about 30 dB.
    assert sqnr(got, expected) > (20 if name == "mobilenet_v2" else 30)
    assert torch.equal(got.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("name", ["resnet18", "resnet20"])
def test_own_calibration_is_close(name: str) -> None:
    """Calibrating by running our own model: the same observers see sums rounded differently."""
    pair, batches = captured(name)
    ours, theirs = peer.prepare(pair, SETUPS["x86"].ours(), SETUPS["x86"].theirs())
    with torch.no_grad():
        for batch in batches:
            theirs(*batch)
            ours(*(to_pt2q(x) for x in batch))
    mine = peer.instances(ours)
    for node, module in peer.instances(theirs).items():
        scale, zero_point = (to_torch(v) for v in mine[node].calculate_qparams())
        their_scale, their_zero_point = module.calculate_qparams()
        # The search over histogram bins may end one bin aside: 1/2048 of the range on each side.
        torch.testing.assert_close(scale.reshape(-1), their_scale.reshape(-1), rtol=4e-3, atol=0)
        assert (zero_point.reshape(-1).long() - their_zero_point.reshape(-1).long()).abs().max() <= 1
