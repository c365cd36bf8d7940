"""Image folders and in-memory data sets under torchvision's names."""

from pt2q.vision.datasets.folder import DatasetFolder, FakeData, ImageFolder, ImageNet

__all__ = ["DatasetFolder", "FakeData", "ImageFolder", "ImageNet"]
