"""Image transforms with torchvision's names and geometry.

Geometric transforms take PIL images; ``ToTensor`` turns them into float32 [C, H, W] in [0, 1].
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import pt2q
from pt2q import Tensor


class InterpolationMode(enum.Enum):
    """Names of Pillow's resampling filters."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


def _is_pil(image: Any) -> bool:
    return type(image).__module__.startswith("PIL.")


def _need_pil(image: Any, name: str) -> None:
    if not _is_pil(image):
        raise TypeError(f"{name} takes a PIL image, got {type(image).__name__}: apply it before ToTensor")


def _pair(size: Any) -> tuple[int, int]:
    """(height, width)"""
    if isinstance(size, int):
        return size, size
    values = tuple(size)
    if len(values) == 1:
        return values[0], values[0]
    if len(values) != 2:
        raise ValueError("Please provide only two dimensions (h, w) for size.")
    return values[0], values[1]


def _random() -> float:
    return float(pt2q.rand(1).item())


class Compose:
    """Applies transforms one after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return "Compose(\n" + "".join(f"    {t}\n" for t in self.transforms) + ")"


class Lambda:
    """Applies a user function."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, image: Any) -> Any:
        return self.lambd(image)

    def __repr__(self) -> str:
        return "Lambda()"


class Resize:
    """Scales the shorter side to ``size`` (int), or to (height, width)."""

    def __init__(self, size: Any, interpolation: InterpolationMode = InterpolationMode.BILINEAR, max_size: int | None = None, antialias: bool = True) -> None:  # fmt: skip
        self.size, self.interpolation, self.max_size = size, interpolation, max_size
        del antialias  # Pillow always antialiases

    def __call__(self, image: Any) -> Any:
        _need_pil(image, "Resize")
        width, height = image.size
        single = self.size if isinstance(self.size, int) else self.size[0] if len(self.size) == 1 else None  # fmt: skip
        if single is not None:
            short, long = min(width, height), max(width, height)
            new_short, new_long = single, int(single * long / short)
            if self.max_size is not None and new_long > self.max_size:
                new_short, new_long = int(self.max_size * new_short / new_long), self.max_size
            new = (new_short, new_long) if width <= height else (new_long, new_short)
        else:
            new = (self.size[1], self.size[0])
        if new == (width, height):
            return image
        from PIL import Image

        return image.resize(new, getattr(Image, self.interpolation.name))

    def __repr__(self) -> str:
        return f"Resize(size={self.size}, interpolation={self.interpolation.value})"


class CenterCrop:
    """The middle (height, width) of an image, padded with black where it is smaller."""

    def __init__(self, size: Any) -> None:
        self.size = _pair(size)

    def __call__(self, image: Any) -> Any:
        _need_pil(image, "CenterCrop")
        height, width = self.size
        left = int(round((image.size[0] - width) / 2.0))
        top = int(round((image.size[1] - height) / 2.0))
        return image.crop((left, top, left + width, top + height))

    def __repr__(self) -> str:
        return f"CenterCrop(size={self.size})"


class Pad:
    """Adds a border."""

    def __init__(self, padding: Any, fill: Any = 0) -> None:
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding) * (4 // len(padding))  # fmt: skip
        self.fill = fill

    def __call__(self, image: Any) -> Any:
        _need_pil(image, "Pad")
        from PIL import ImageOps

        return ImageOps.expand(image, self.padding, self.fill)

    def __repr__(self) -> str:
        return f"Pad(padding={self.padding}, fill={self.fill})"


class RandomCrop:
    """A random (height, width) part of the image."""

    def __init__(self, size: Any, padding: int | None = None) -> None:
        self.size, self.padding = _pair(size), padding

    def __call__(self, image: Any) -> Any:
        _need_pil(image, "RandomCrop")
        if self.padding:
            image = Pad(self.padding)(image)
        height, width = self.size
        spare_x, spare_y = image.size[0] - width, image.size[1] - height
        if spare_x < 0 or spare_y < 0:
            raise ValueError(f"Required crop size {self.size} is larger than input image size {image.size[::-1]}")  # fmt: skip
        left, top = int(_random() * (spare_x + 1)), int(_random() * (spare_y + 1))
        return image.crop((left, top, left + width, top + height))

    def __repr__(self) -> str:
        return f"RandomCrop(size={self.size}, padding={self.padding})"


class RandomResizedCrop:
    """A random part of the image (by area and aspect ratio), resized."""

    def __init__(self, size: Any, scale: Sequence[float] = (0.08, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3), interpolation: InterpolationMode = InterpolationMode.BILINEAR, antialias: bool = True) -> None:  # fmt: skip
        self.size, self.scale, self.ratio = _pair(size), scale, ratio
        self.interpolation = interpolation
        del antialias

    def _box(self, width: int, height: int) -> tuple[int, int, int, int]:
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area = width * height * (self.scale[0] + _random() * (self.scale[1] - self.scale[0]))
            aspect = math.exp(low + _random() * (high - low))
            w, h = int(round(math.sqrt(area * aspect))), int(round(math.sqrt(area / aspect)))
            if 0 < w <= width and 0 < h <= height:
                left, top = int(_random() * (width - w + 1)), int(_random() * (height - h + 1))
                return left, top, left + w, top + h
        aspect = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, int(round(height * aspect))), min(height, int(round(width / aspect)))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h

    def __call__(self, image: Any) -> Any:
        _need_pil(image, "RandomResizedCrop")
        cropped = image.crop(self._box(*image.size))
        return Resize(list(self.size), self.interpolation)(cropped)

    def __repr__(self) -> str:
        return f"RandomResizedCrop(size={self.size}, scale={tuple(self.scale)}, ratio={tuple(self.ratio)})"


class RandomHorizontalFlip:
    """Mirrors the image with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Any) -> Any:
        if _random() >= self.p:
            return image
        if _is_pil(image):
            from PIL import ImageOps

            return ImageOps.mirror(image)
        return image.flip([-1])

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip(p={self.p})"


class Grayscale:
    """Luma of the image, repeated to 1 or 3 channels."""

    def __init__(self, num_output_channels: int = 1) -> None:
        self.num_output_channels = num_output_channels

    def __call__(self, image: Any) -> Any:
        _need_pil(image, "Grayscale")
        gray = image.convert("L")
        return gray.convert("RGB") if self.num_output_channels == 3 else gray

    def __repr__(self) -> str:
        return f"Grayscale(num_output_channels={self.num_output_channels})"


class PILToTensor:
    """PIL image → uint8 tensor [C, H, W]."""

    def __call__(self, image: Any) -> Tensor:
        array = np.asarray(image)
        if array.ndim == 2:
            array = array[:, :, None]
        return pt2q.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))

    def __repr__(self) -> str:
        return "PILToTensor()"


class ToTensor:
    """PIL image or uint8 array [H, W, C] → float32 tensor [C, H, W]; 8-bit values become [0, 1]."""

    def __call__(self, image: Any) -> Tensor:
        if not (_is_pil(image) or isinstance(image, np.ndarray)):
            raise TypeError(f"pic should be PIL Image or ndarray. Got {type(image).__name__}")
        array = np.asarray(image)
        if array.ndim == 2:
            array = array[:, :, None]
        if array.ndim != 3:
            raise ValueError(f"pic should be 2/3 dimensional. Got {array.ndim} dimensions.")
        planes = np.ascontiguousarray(array.transpose(2, 0, 1))
        if planes.dtype == np.uint8:
            planes = planes.astype(np.float32) / np.float32(255)
        elif planes.dtype == np.bool_:
            planes = planes.astype(np.float32)
        return pt2q.from_numpy(planes)

    def __repr__(self) -> str:
        return "ToTensor()"


class ConvertImageDtype:
    """uint8 tensor → float32 in [0, 1]."""

    def __init__(self, dtype: Any) -> None:
        if dtype != pt2q.float32:
            raise ValueError(f"ConvertImageDtype converts to float32 only, got {dtype}")

    def __call__(self, image: Tensor) -> Tensor:
        return image.float() / 255.0 if image.dtype == pt2q.uint8 else image

    def __repr__(self) -> str:
        return "ConvertImageDtype()"


class Normalize:
    """(x − mean) / std per channel of a float tensor [..., C, H, W]."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        if any(s == 0 for s in std):
            raise ValueError("std evaluated to zero, leading to division by zero.")
        self.mean, self.std, self.inplace = list(mean), list(std), inplace

    def __call__(self, tensor: Any) -> Any:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"img should be Tensor Image. Got {type(tensor).__name__}: use ToTensor first")
        if not tensor.is_floating_point():
            raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
        array = tensor.numpy()
        shape = (len(self.mean), 1, 1)
        mean = np.asarray(self.mean, array.dtype).reshape(shape)
        std = np.asarray(self.std, array.dtype).reshape(shape)
        if array.ndim < 3 or len(self.mean) not in (1, array.shape[-3]):
            raise ValueError(f"cannot normalize shape {tuple(array.shape)} with {len(self.mean)} means")
        result = pt2q.from_numpy((array - mean) / std)
        return tensor.copy_(result) if self.inplace else result

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"
