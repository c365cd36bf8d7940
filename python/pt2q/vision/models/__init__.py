"""Model builders with torchvision's names, structure and parameter names."""

from pt2q.vision.models import cifar_resnet, mobilenetv2, resnet, squeezenet
from pt2q.vision.models.cifar_resnet import CifarResNet, cifar_resnet20, cifar_resnet56
from pt2q.vision.models.mobilenetv2 import MobileNet_V2_Weights, MobileNetV2, mobilenet_v2
from pt2q.vision.models.resnet import (
    ResNet,
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    ResNet152_Weights,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)
from pt2q.vision.models.squeezenet import SqueezeNet, SqueezeNet1_1_Weights, squeezenet1_1

__all__ = [
    "CifarResNet",
    "MobileNetV2",
    "MobileNet_V2_Weights",
    "ResNet",
    "ResNet101_Weights",
    "ResNet152_Weights",
    "ResNet18_Weights",
    "ResNet34_Weights",
    "ResNet50_Weights",
    "SqueezeNet",
    "SqueezeNet1_1_Weights",
    "cifar_resnet",
    "cifar_resnet20",
    "cifar_resnet56",
    "mobilenet_v2",
    "mobilenetv2",
    "resnet",
    "resnet101",
    "resnet152",
    "resnet18",
    "resnet34",
    "resnet50",
    "squeezenet",
    "squeezenet1_1",
]
