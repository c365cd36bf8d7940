"""Layers for quantization-aware training: float layers whose weights pass a fake-quantizer.

``prepare_qat`` swaps them in. There is no autograd here: weights are trained in PyTorch
(``pt2q.interop.torch``), or come from a checkpoint; observers and batch statistics are updated.
"""

from __future__ import annotations

from typing import Any

from pt2q import nn

__all__ = ["Conv1d", "Conv2d", "Conv3d", "Linear"]


class _QATLayer(nn.Module):
    """Adds ``weight_fake_quant`` and ``qconfig`` to a float layer."""

    _FLOAT_MODULE: Any = None

    def _take_qconfig(self, qconfig: Any) -> None:
        if not qconfig:
            raise AssertionError("qconfig must be provided for QAT module")
        self.qconfig = qconfig
        self.weight_fake_quant = qconfig.weight()

    @classmethod
    def _check_float(cls, mod: Any) -> None:
        if type(mod) is not cls._FLOAT_MODULE:
            raise AssertionError(
                f"qat.{cls.__name__}.from_float only works for {cls._FLOAT_MODULE.__name__}, got {type(mod).__name__}"
            )
        if not getattr(mod, "qconfig", None):
            raise AssertionError("Input float module must have a valid qconfig")

    @staticmethod
    def _arguments(layer: Any) -> tuple[Any, ...]:
        """What makes another layer of this shape: arguments of the constructor."""
        raise NotImplementedError

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The training form of a float module that has a ``qconfig``; parameters are shared."""
        del use_precomputed_fake_quant
        cls._check_float(mod)
        layer = mod[0] if isinstance(mod, nn.Sequential) else mod
        made = cls(*cls._arguments(layer), qconfig=mod.qconfig)  # type: ignore[call-arg]
        made.weight, made.bias = layer.weight, layer.bias
        made.train(mod.training)
        return made


class _Conv(_QATLayer):
    _FUNCTION: Any = None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", qconfig: Any = None, device: Any = None, dtype: Any = None) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)  # type: ignore[call-arg]  # fmt: skip
        self._take_qconfig(qconfig)

    @staticmethod
    def _arguments(layer: Any) -> tuple[Any, ...]:
        return (
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
            layer.dilation, layer.groups, layer.bias is not None, layer.padding_mode,
        )  # fmt: skip

    def forward(self, input: Any) -> Any:
        return self._convolve(self._FUNCTION, input, self.weight_fake_quant(self.weight), self.bias)


class Conv1d(_Conv, nn.Conv1d):
    _FLOAT_MODULE: Any = nn.Conv1d
    _FUNCTION = staticmethod(nn.functional.conv1d)


class Conv2d(_Conv, nn.Conv2d):
    _FLOAT_MODULE: Any = nn.Conv2d
    _FUNCTION = staticmethod(nn.functional.conv2d)


class Conv3d(_Conv, nn.Conv3d):
    _FLOAT_MODULE: Any = nn.Conv3d
    _FUNCTION = staticmethod(nn.functional.conv3d)


class Linear(_QATLayer, nn.Linear):
    _FLOAT_MODULE: Any = nn.Linear

    def __init__(self, in_features: int, out_features: int, bias: bool = True, qconfig: Any = None, device: Any = None, dtype: Any = None) -> None:  # fmt: skip
        nn.Linear.__init__(self, in_features, out_features, bias, device, dtype)
        self._take_qconfig(qconfig)

    def forward(self, input: Any) -> Any:
        return nn.functional.linear(input, self.weight_fake_quant(self.weight), self.bias)

    @staticmethod
    def _arguments(layer: Any) -> tuple[Any, ...]:
        return layer.in_features, layer.out_features, layer.bias is not None
