"""The models and data of the demo."""

from __future__ import annotations

import csv
import pathlib
from typing import NamedTuple

import numpy as np

import pt2q
from pt2q import nn
from pt2q.vision import models

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


class Task(NamedTuple):
    """A model with the images to calibrate and to evaluate on."""

    name: str
    title: str
    model: nn.Module
    calibration: np.ndarray  # float32 [n, C, H, W]
    images: np.ndarray  # float32 [n, C, H, W], none of the calibration images
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

    def prepare(images: np.ndarray) -> np.ndarray:
        scaled = (images.astype(np.float32) / 255 - IMAGENET_MEAN) / IMAGENET_STD
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))

    return Task(name, "CIFAR ResNet, CIFAR-10 test images", model, prepare(file["calib_images"][:100]),
                prepare(file["images"]), file["labels"].astype(np.int64), 100)  # fmt: skip


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


def imagenet_task(name: str, data: pathlib.Path) -> Task:
    """ImageNet sample: the images that labels.csv marks 'calib', evaluated on those marked 'eval'."""
    folder = data / "imagenet_sample"
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rotated = name == "mobilenet_v2"  # these weights are turned by 180 degrees, see the data's README
    weights = "mobilenet_v2_imagenet_rot180" if rotated else "squeezenet1_1_imagenet"
    model = getattr(models, name)(weights=data / f"{weights}.safetensors")

    def prepare(rows: list[dict[str, str]]) -> np.ndarray:
        images = np.empty((len(rows), 3, 224, 224), np.float32)
        for i, row in enumerate(rows):
            pixels = load_image(folder / row["file"]).astype(np.float32)
            if rotated:
                pixels = pixels[::-1, ::-1] / 127.5 - 1
            else:
                pixels = (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD
            images[i] = pixels.transpose(2, 0, 1)
        return images

    split = {kind: [r for r in rows if r["split"] == kind] for kind in ("calib", "eval")}
    labels = np.array([int(r["index"]) for r in split["eval"]])
    return Task(name, "ImageNet classifier, one image per class", model, prepare(split["calib"]),
                prepare(split["eval"]), labels, 50)  # fmt: skip
