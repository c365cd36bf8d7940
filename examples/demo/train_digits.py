#!/usr/bin/env python3
"""Trains the demo's model: a small residual network for the UCI handwritten digits.

Needs PyTorch and scikit-learn; the demo itself needs neither, it reads what this script writes:
  digits.npz                    the 1,797 images (uint8 [n, 8, 8], values 0..16), labels and split
  digits_resnet.safetensors     the weights, under the names of pt2q.vision.models.CifarResNet
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent


class Block(nn.Module):
    """Two 3x3 convolutions with an option-A shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down, self.extra = stride != 1 or inputs != outputs, outputs // 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.down:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(y + x)


class DigitsResNet(nn.Module):
    """The 14-layer member of the CIFAR ResNet family, for one input channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


def shift(images: torch.Tensor) -> torch.Tensor:
    """Moves each batch by up to one pixel."""
    dy, dx = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(images, (dy, dx), (2, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    args = parser.parse_args()
    torch.manual_seed(0)
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    # Test = the last 540 images: scikit-learn keeps the order of writers, so they are other people's.
    is_test = np.arange(len(images)) >= len(images) - 540
    np.savez_compressed(args.out / "digits.npz", images=images, labels=labels, is_test=is_test)

    x = torch.from_numpy(images.astype(np.float32) / 16.0)[:, None]
    y = torch.from_numpy(labels.astype(np.int64))
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    model = DigitsResNet()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, args.epochs * (len(train) // 64))
    for _ in range(args.epochs):
        model.train()
        order = torch.from_numpy(train)[torch.randperm(len(train))]
        for batch in order[: len(train) // 64 * 64].split(64):
            loss = F.cross_entropy(model(shift(x[batch])), y[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        top1 = (model(x[test]).argmax(1) == y[test]).float().mean().item()
    state = {k: v.contiguous() for k, v in model.state_dict().items() if "num_batches" not in k}
    save_file(state, args.out / "digits_resnet.safetensors")
    print(f"test top-1 {100 * top1:.2f} % on {len(test)} images")


if __name__ == "__main__":
    main()
