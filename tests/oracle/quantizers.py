"""The built-in quantizers under test, in pt2q and in PyTorch, by one name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as torch_nn
import torch.nn.functional as torch_functional
from torchao.quantization.pt2e import quantizer as t_base
from torchao.quantization.pt2e.quantizer import arm_inductor_quantizer as t_arm
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as t_x86
from torchao.quantization.pt2e.quantizer import xpu_inductor_quantizer as t_xpu
from torchao.testing.pt2e import _xnnpack_quantizer as t_xnn

import pt2q.nn as our_nn
import pt2q.nn.functional as our_functional
from pt2q.ao.quantization.quantizer import arm_inductor_quantizer as o_arm
from pt2q.ao.quantization.quantizer import composable_quantizer as o_comp
from pt2q.ao.quantization.quantizer import embedding_quantizer as o_emb
from pt2q.ao.quantization.quantizer import x86_inductor_quantizer as o_x86
from pt2q.ao.quantization.quantizer import xnnpack_quantizer as o_xnn
from pt2q.ao.quantization.quantizer import xpu_inductor_quantizer as o_xpu
from torchao.quantization.pt2e.quantizer import composable_quantizer as t_comp
from torchao.quantization.pt2e.quantizer import embedding_quantizer as t_emb


@dataclass(frozen=True)
class Setup:
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    static: bool = True  # calibrated and compared number by number
    qat: bool = False  # annotations only: the graph is annotated before batch norms are folded


def both(make: Callable[[Any, Any], Any], ours: Any, theirs: Any, **kwargs: Any) -> Setup:
    return Setup(lambda: make(*ours), lambda: make(*theirs), **kwargs)


X86 = ((o_x86,), (t_x86,))
XNN = ((o_xnn,), (t_xnn,))
XPU = ((o_xpu,), (t_xpu,))
ARM = ((o_arm,), (t_arm,))
EMB = ((o_emb,), (t_emb,))


def x86(**kwargs: Any) -> Callable[[Any], Any]:
    return lambda m: m.X86InductorQuantizer().set_global(m.get_default_x86_inductor_quantization_config(**kwargs))


def arm(**kwargs: Any) -> Callable[[Any], Any]:
    return lambda m: m.ArmInductorQuantizer().set_global(m.get_default_arm_inductor_quantization_config(**kwargs))


def xnnpack(**kwargs: Any) -> Callable[[Any], Any]:
    return lambda m: m.XNNPACKQuantizer().set_global(m.get_symmetric_quantization_config(**kwargs))


class ExecutorchList(t_xnn.XNNPACKQuantizer):
    """torchao's copy with ExecuTorch's longer list of operators that hand data on (docs/supersets.md).

    With it, observers and numbers can be compared on models where pt2q annotates more.
    """

    MORE = {
        torch.ops.aten.dropout.default, torch.ops.aten.dropout_.default, torch.ops.aten.transpose.int,
        torch.ops.aten.reshape.default, torch.ops.aten.slice.Tensor, torch.ops.aten.flatten.using_ints,
        torch.ops.aten.view.default, torch.ops.aten.permute.default, torch.ops.aten.max_pool2d.default,
    }  # fmt: skip

    def annotate(self, model: Any) -> Any:
        model = super().annotate(model)
        key = "quantization_annotation"
        for node in model.graph.nodes:
            if node.target not in self.MORE or key in node.meta:
                continue
            before = node.args[0]
            if before.meta.get(key) is None or before.meta[key].output_qspec is None:
                continue
            shared = t_base.SharedQuantizationSpec(before)
            node.meta[key] = t_base.QuantizationAnnotation(
                input_qspec_map={before: shared}, output_qspec=shared, _annotated=True
            )
        return model


def executorch_list() -> Any:
    return ExecutorchList().set_global(t_xnn.get_symmetric_quantization_config(is_per_channel=True))


def xpu(m: Any) -> Any:
    return m.XPUInductorQuantizer().set_global(m.get_default_xpu_inductor_quantization_config())


def fp16(m: Any, functional: Any) -> Any:
    config = m.get_x86_inductor_linear_dynamic_fp16_config()
    return m.X86InductorQuantizer().set_function_type_qconfig(functional.linear, config)


def by_type(m: Any, functional: Any) -> Any:
    """Convolutions only, nothing for the first one's module."""
    config = m.get_default_x86_inductor_quantization_config()
    quantizer = m.X86InductorQuantizer().set_function_type_qconfig(functional.conv2d, config)
    return quantizer.set_module_name_qconfig("conv1", None).set_module_name_qconfig("0", None)


def by_name(m: Any, nn: Any) -> Any:
    """All three levels: names over types over the global setting."""
    config = m.get_default_x86_inductor_quantization_config()
    reduced = m.get_default_x86_inductor_quantization_config(reduce_range=True)
    quantizer = m.X86InductorQuantizer().set_global(config).set_module_type_qconfig(nn.Linear, None)
    for name, own in (("layer2", None), ("blocks.1", reduced), ("e1", None), ("att", reduced), ("features.0", None)):
        quantizer.set_module_name_qconfig(name, own)
    return quantizer


def composed(comp: Any, emb: Any, arm_module: Any, xnn: Any) -> Any:
    """Embeddings, then convolutions and linears, then the rest of what XNNPACK knows."""
    return comp.ComposableQuantizer(
        [emb.EmbeddingQuantizer(), arm()(arm_module), xnnpack(is_per_channel=True)(xnn)]
    )


SETUPS = {
    "x86": both(x86(), *X86),
    "x86 reduced range": both(x86(reduce_range=True), *X86, static=False),
    "x86 dynamic": both(x86(is_dynamic=True), *X86, static=False),
    "x86 float16": both(fp16, (o_x86, our_functional), (t_x86, torch_functional), static=False),
    "x86 by type": both(by_type, (o_x86, our_functional), (t_x86, torch_functional), static=False),
    "x86 by name": both(by_name, (o_x86, our_nn), (t_x86, torch_nn), static=False),
    "x86 qat": both(x86(is_qat=True), *X86, qat=True),
    "x86 dynamic qat": both(x86(is_qat=True, is_dynamic=True), *X86, qat=True),
    "xpu": both(xpu, *XPU),
    "arm": both(arm(), *ARM),
    "arm dynamic": both(arm(is_dynamic=True), *ARM, static=False),
    "arm qat": both(arm(is_qat=True), *ARM, qat=True),
    "xnnpack per tensor": both(xnnpack(), *XNN),
    "xnnpack per channel": both(xnnpack(is_per_channel=True), *XNN),
    "xnnpack longer list": Setup(lambda: xnnpack(is_per_channel=True)(o_xnn), executorch_list, static=False),
    "xnnpack dynamic": both(xnnpack(is_per_channel=True, is_dynamic=True), *XNN, static=False),
    "xnnpack qat": both(xnnpack(is_per_channel=True, is_qat=True), *XNN, qat=True),
    "embedding": both(lambda m: m.EmbeddingQuantizer(), *EMB),
    "composable": both(composed, (o_comp, o_emb, o_arm, o_xnn), (t_comp, t_emb, t_arm, t_xnn)),
}


__all__ = ["SETUPS", "Setup"]
