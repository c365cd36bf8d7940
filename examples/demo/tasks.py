"""The models and data of the demo."""

from __future__ import annotations

import csv
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

import pt2q
from pt2q import nn
from pt2q.vision import models

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


class Images:
    """Pixels (uint8 [n, H, W, C]) that become the model's float32 [n, C, H, W] where they are sliced."""

    def __init__(self, pixels: np.ndarray, prepare: Callable[[np.ndarray], np.ndarray]) -> None:
        self.pixels, self.prepare = pixels, prepare

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: slice) -> np.ndarray:
        scaled = self.prepare(self.pixels[index].astype(np.float32))
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


class Task(NamedTuple):
    """A model with the images to calibrate and to evaluate on; images are sliced in batches."""

    name: str
    title: str
    model: nn.Module
    calibration: np.ndarray | Images  # float32 [n, C, H, W]
    images: np.ndarray | Images  # float32 [n, C, H, W], none of the calibration images
    labels: np.ndarray  # int [n]
    batch: int


def digits_task(folder: pathlib.Path) -> Task:
    """Handwritten digits, 8x8; calibrated on 100 training images, evaluated on the 540 test images."""
    data = np.load(folder / "digits.npz")
    images = data["images"][:, None].astype(np.float32) / 16.0
    labels = data["labels"].astype(np.int64)
    train, test = np.flatnonzero(~data["is_test"]), np.flatnonzero(data["is_test"])
    model = models.CifarResNet(2, in_channels=1)
    model.load_state_dict(pt2q.load(folder / "digits_resnet.safetensors"))
    return Task("digits_resnet14", "14-layer residual network, UCI handwritten digits", model,
                images[train[:100]], images[test], labels[test], 50)  # fmt: skip


def cifar_task(name: str, data: pathlib.Path) -> Task:
    """CIFAR-10: 100 training images to calibrate, 1,000 test images to evaluate."""
    build = {"resnet20": models.cifar_resnet20, "resnet56": models.cifar_resnet56}[name]
    model = build(weights=data / f"{name}_cifar10.safetensors")
    file = np.load(data / "cifar10_test1000.npz")

    def prepare(pixels: np.ndarray) -> np.ndarray:
        return (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD

    return Task(name, "CIFAR ResNet, CIFAR-10 test images", model,
                Images(file["calib_images"][:100], prepare), Images(file["images"], prepare),
                file["labels"].astype(np.int64), 100)  # fmt: skip


def load_image(path: pathlib.Path) -> np.ndarray:
    """uint8 [224, 224, 3]: shorter side to 256 (bilinear), middle 224."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    width, height = image.size
    scale = 256 / min(width, height)
    size = (256, int(height * scale)) if width <= height else (int(width * scale), 256)
    image = image.resize(size, Image.BILINEAR)
    left, top = round((image.size[0] - 224) / 2), round((image.size[1] - 224) / 2)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def decoded(files: list[pathlib.Path]) -> np.ndarray:
    """load_image of every file, uint8 [n, 224, 224, 3]; kept in the temporary folder for the next run."""
    stamp = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    key = hashlib.sha256(repr(stamp).encode()).hexdigest()[:16]
    cache = pathlib.Path(tempfile.gettempdir()) / f"pt2q-demo-{os.getuid()}-{key}.npy"
    try:
        return np.load(cache, mmap_mode="r")
    except (OSError, ValueError):  # not there, or cut off
        with ThreadPoolExecutor() as pool:
            pixels = np.stack(list(pool.map(load_image, files)))
    try:
        with tempfile.NamedTemporaryFile(dir=cache.parent, delete=False) as file:
            np.save(file, pixels)
        os.replace(file.name, cache)
    except OSError:  # no room: decode again next time
        pass
    return pixels


def imagenet_task(name: str, data: pathlib.Path, limit: int | None = None) -> Task:
    """ImageNet sample: the images that labels.csv marks 'calib', evaluated on those marked 'eval'
    (the first ``limit`` of them)."""
    folder = data / "imagenet_sample"
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    evaluated = [row for row in rows if row["split"] == "eval"][:limit]
    rows = [row for row in rows if row["split"] == "calib"] + evaluated
    rotated = name == "mobilenet_v2"  # these weights are turned by 180 degrees, see the data's README
    weights = "mobilenet_v2_imagenet_rot180" if rotated else "squeezenet1_1_imagenet"
    model = getattr(models, name)(weights=data / f"{weights}.safetensors")

    def prepare(pixels: np.ndarray) -> np.ndarray:
        if rotated:
            return pixels[:, ::-1, ::-1] / 127.5 - 1
        return (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD

    pixels = decoded([folder / row["file"] for row in rows])
    split = np.array([row["split"] for row in rows])
    labels = np.array([int(row["index"]) for row in rows])
    calibration, images = (Images(pixels[split == kind], prepare) for kind in ("calib", "eval"))
    return Task(name, "ImageNet classifier, one image per class", model, calibration, images,
                labels[split == "eval"], 50)  # fmt: skip
