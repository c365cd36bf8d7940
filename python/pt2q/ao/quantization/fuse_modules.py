"""``fuse_modules``: convolution or linear, batch norm and relu become one module."""

from __future__ import annotations

import copy
from typing import Any

import pt2q
from pt2q import nn
from pt2q.ao.nn import intrinsic as nni
from pt2q.nn.parameter import Parameter

__all__ = ["fuse_modules", "fuse_modules_qat"]

_RELU = {
    nn.Conv1d: nni.ConvReLU1d,
    nn.Conv2d: nni.ConvReLU2d,
    nn.Conv3d: nni.ConvReLU3d,
    nn.Linear: nni.LinearReLU,
    nn.BatchNorm2d: nni.BNReLU2d,
    nn.BatchNorm3d: nni.BNReLU3d,
}
_BATCH_NORM = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
    nn.Linear: nn.BatchNorm1d,
    nn.ConvTranspose1d: nn.BatchNorm1d,
    nn.ConvTranspose2d: nn.BatchNorm2d,
    nn.ConvTranspose3d: nn.BatchNorm3d,
}


def fuse_conv_bn_eval(conv: Any, bn: Any) -> Any:
    """A copy of ``conv`` (or linear) that does what it and ``bn`` did, in eval mode."""
    example_dims = {nn.Conv1d: 1, nn.ConvTranspose1d: 1, nn.Conv3d: 3, nn.ConvTranspose3d: 3, nn.Linear: 0}
    spatial = example_dims.get(type(conv), 2)
    channels = conv.in_features if spatial == 0 else conv.in_channels
    size = 0 if spatial == 0 else max(d * (k - 1) + 1 for k, d in zip(conv.kernel_size, conv.dilation))
    example = pt2q.zeros((2, channels) + (size,) * spatial)
    chain = nn.Sequential(copy.deepcopy(conv), bn).eval()
    program = pt2q.export.export(chain, (example,)).module()
    pt2q._core._fold_conv_bn(program)  # the same arithmetic as prepare's
    state = dict(program.named_parameters())
    fused = chain[0]
    fused.weight = Parameter(state["0.weight"])
    bias = state["0.bias"] if conv.bias is not None else state["0.weight_bias"]
    fused.register_parameter("bias", Parameter(bias))
    return fused


# Batch norms that go on being trained stay modules of their own.
_TRAINED = {
    (nn.Conv1d, nn.BatchNorm1d): nni.ConvBn1d,
    (nn.Conv2d, nn.BatchNorm2d): nni.ConvBn2d,
    (nn.Conv3d, nn.BatchNorm3d): nni.ConvBn3d,
    (nn.Conv1d, nn.BatchNorm1d, nn.ReLU): nni.ConvBnReLU1d,
    (nn.Conv2d, nn.BatchNorm2d, nn.ReLU): nni.ConvBnReLU2d,
    (nn.Conv3d, nn.BatchNorm3d, nn.ReLU): nni.ConvBnReLU3d,
    (nn.Linear, nn.BatchNorm1d): nni.LinearBn1d,
}


def _fuse_for_training(parts: list[Any]) -> list[Any]:
    types = tuple(type(p) for p in parts)
    if types in _TRAINED:
        if len({p.training for p in parts}) > 1:
            raise AssertionError("Conv and BN both must be in the same mode (train or eval).")
        fused = _TRAINED[types](*parts)
        _move_hooks(parts, fused, parts[0])
        return [fused] + [_identity(parts[0].training) for _ in parts[1:]]
    return _fuse(parts, for_training=True)


def _fuse(parts: list[Any], for_training: bool = False) -> list[Any]:
    """The fused module, then identities in place of the others."""
    types = tuple(type(p) for p in parts)
    rest = list(types[1:])
    with_norm = bool(rest) and rest[0] is _BATCH_NORM.get(types[0])
    if with_norm:
        rest.pop(0)
    with_relu = rest == [nn.ReLU] and types[0] in _RELU
    if with_relu:
        rest.pop()
    if rest or not (with_norm or with_relu):
        raise AssertionError(f"did not find fuser method for: {types} ")
    if (with_norm or not for_training) and any(p.training for p in parts):
        raise AssertionError("Fusion only for eval!")
    root = fuse_conv_bn_eval(parts[0], parts[1]) if with_norm else parts[0]
    fused = _RELU[types[0]](root, parts[-1]) if with_relu else root
    _move_hooks(parts, fused, root)
    fused.training = parts[0].training
    return [fused] + [_identity(parts[0].training) for _ in parts[1:]]


def _move_hooks(parts: list[Any], fused: Any, root: Any) -> None:
    fused._forward_pre_hooks.update(parts[0]._forward_pre_hooks)
    fused._forward_hooks.update(parts[-1]._forward_hooks)
    fused._hook_counter = max(p._hook_counter for p in parts)
    if fused is not root:
        root._forward_pre_hooks.clear()
        fused[1]._forward_hooks.clear()


def _identity(training: bool) -> Any:
    module = nn.Identity()
    module.training = training
    return module


def fuse_modules_qat(
    model: Any,
    modules_to_fuse: Any,
    inplace: bool = False,
    fuser_func: Any = None,
    fuse_custom_config_dict: Any = None,
) -> Any:
    """As :func:`fuse_modules`, before ``prepare_qat``: the model is in training mode, and batch norms
    stay parts of the fused modules."""
    return fuse_modules(model, modules_to_fuse, inplace, fuser_func or _fuse_for_training, fuse_custom_config_dict)


def fuse_modules(
    model: Any,
    modules_to_fuse: Any,
    inplace: bool = False,
    fuser_func: Any = None,
    fuse_custom_config_dict: Any = None,
) -> Any:
    """Fuses lists of modules: conv-bn, conv-bn-relu, conv-relu, linear-relu, linear-bn, bn-relu.

    Args:
        model: the model, in eval mode.
        modules_to_fuse: one list of dotted names, or a list of such lists, e.g. ``[["conv", "bn"]]``.
        inplace: change ``model`` itself.

    Returns:
        The model: the first module of each list is the fused one, the others are identities.

    Raises:
        AssertionError: an unknown combination, or modules in training mode.
    """
    del fuse_custom_config_dict
    if not inplace:
        model = copy.deepcopy(model)
    groups = modules_to_fuse
    if all(isinstance(name, str) for name in groups):
        groups = [groups]
    for names in groups:
        parts = [model.get_submodule(name) for name in names]
        for name, part in zip(names, (fuser_func or _fuse)(parts)):
            path, _, leaf = name.rpartition(".")
            model.get_submodule(path)._modules[leaf] = part
    return model
