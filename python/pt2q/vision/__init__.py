"""The torchvision names that quantization tutorials use."""

from pt2q.vision import datasets, models, transforms

__all__ = ["datasets", "models", "transforms"]
