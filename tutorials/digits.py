"""What the tutorials share: handwritten digits (UCI, 8x8 pixels) and a trained network that reads them."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pt2q as torch
from pt2q.vision import models

_FOLDER = pathlib.Path(__file__).resolve().parents[1] / "examples" / "demo"

_data = np.load(_FOLDER / "digits.npz")
_images = _data["images"][:, None].astype(np.float32) / 16
calibration = _images[~_data["is_test"]][:100]  # of 1257 training images
test = _images[_data["is_test"]]
labels = _data["labels"][_data["is_test"]]


def load_model() -> Any:
    """A residual network of 14 layers, trained on the digits, in eval mode."""
    model = models.CifarResNet(2, in_channels=1)
    model.load_state_dict(torch.load(_FOLDER / "digits_resnet.safetensors"))
    return model.eval()


def accuracy(run: Callable[[Any], Any]) -> float:
    """The share of the 540 test images that ``run`` reads right."""
    scores = np.concatenate([np.asarray(run(batch)) for batch in np.split(test, 10)])
    return float((scores.argmax(1) == labels).mean())


def milliseconds(run: Callable[[Any], Any], x: Any, repeats: int = 10) -> float:
    """The shortest of some calls, after a first one."""
    run(x)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - begin)
    return min(times) * 1e3


def sqnr(signal: Any, other: Any) -> float:
    """Signal-to-quantization-noise ratio in dB."""
    signal, other = np.asarray(signal), np.asarray(other)
    return 20 * float(np.log10(np.linalg.norm(signal) / np.linalg.norm(signal - other)))
