"""Data sets of image files, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from pt2q.utils.data import Dataset

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def pil_loader(path: str) -> Any:
    """The image file as an RGB PIL image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading image files needs Pillow: pip install pt2q[vision]") from error
    with open(path, "rb") as file:
        return Image.open(file).convert("RGB")


class DatasetFolder(Dataset):
    """Samples ``root/<class>/**/<file>``; classes are numbered in alphabetical order."""

    def __init__(
        self,
        root: str,
        loader: Callable[[str], Any] = pil_loader,
        extensions: tuple[str, ...] = IMG_EXTENSIONS,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.root = os.path.expanduser(root)
        self.loader, self.transform, self.target_transform = loader, transform, target_transform
        if not os.path.isdir(self.root):
            raise FileNotFoundError(f"data set folder '{self.root}' does not exist")
        self.classes = sorted(e.name for e in os.scandir(self.root) if e.is_dir())
        if not self.classes:
            raise FileNotFoundError(f"Couldn't find any class folder in {self.root}.")
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.samples = [
            (path, self.class_to_idx[name])
            for name in self.classes
            for path in _files(os.path.join(self.root, name), extensions)
        ]
        if not self.samples:
            raise FileNotFoundError(
                f"no files with extensions {', '.join(extensions)} in the class folders of {self.root}"
            )
        self.targets = [target for _, target in self.samples]

    @property
    def imgs(self) -> list[tuple[str, int]]:
        return self.samples

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        sample = self.loader(path)
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return (
            f"Dataset {type(self).__name__}\n    Number of datapoints: {len(self)}\n"
            f"    Root location: {self.root}"
        )


def _files(folder: str, extensions: tuple[str, ...]) -> list[str]:
    return [
        os.path.join(base, name)
        for base, _, names in sorted(os.walk(folder, followlinks=True))
        for name in sorted(names)
        if name.lower().endswith(extensions)
    ]


class ImageFolder(DatasetFolder):
    """``root/<class>/<image>``"""

    def __init__(self, root: str, transform: Any = None, target_transform: Any = None, loader: Any = pil_loader) -> None:  # fmt: skip
        super().__init__(root, loader, IMG_EXTENSIONS, transform, target_transform)


class ImageNet(ImageFolder):
    """ImageNet, already unpacked to ``root/train/<wnid>/`` and ``root/val/<wnid>/``."""

    def __init__(self, root: str, split: str = "train", **kwargs: Any) -> None:
        if split not in ("train", "val"):
            raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {{'train', 'val'}}.")  # fmt: skip
        self.split = split
        folder = os.path.join(os.path.expanduser(root), split)
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"ImageNet split folder '{folder}' does not exist: unpack the archives to "
                f"{os.path.join(os.path.expanduser(root), '<split>', '<wnid>', '*.JPEG')}"
            )
        super().__init__(folder, **kwargs)
        self.wnids = self.classes


class FakeData(Dataset):
    """Random images, the same for every run: ``size`` PIL images of shape ``image_size`` (C, H, W)."""

    def __init__(self, size: int = 1000, image_size: tuple[int, int, int] = (3, 224, 224), num_classes: int = 10, transform: Any = None, target_transform: Any = None, random_offset: int = 0) -> None:  # fmt: skip
        self.size, self.image_size, self.num_classes = size, image_size, num_classes
        self.transform, self.target_transform = transform, target_transform
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise IndexError(f"{type(self).__name__} index out of range")
        rng = np.random.default_rng(index + self.random_offset)
        channels, height, width = self.image_size
        image: Any = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
        target: Any = int(rng.integers(0, self.num_classes))
        from PIL import Image

        image = Image.fromarray(image.squeeze())
        if self.transform is not None:
            image = self.transform(image)
        return image, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        return self.size
