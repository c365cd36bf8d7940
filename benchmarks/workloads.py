"""The benchmark's cases: a model and a batch, with inputs, in pt2q and, from the same source, in PyTorch; and
pt2q's flow with the x86 quantizer, which nearly every program here runs."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

import places  # noqa: F401  pt2q is the build tree's

# model: the module that builds it
_VISION = "pt2q.vision.models"
SOURCES = {
    "resnet18": f"{_VISION}.resnet",
    "resnet50": f"{_VISION}.resnet",
    "mobilenet_v2": f"{_VISION}.mobilenetv2",
    "squeezenet1_1": f"{_VISION}.squeezenet",
    "cifar_resnet20": f"{_VISION}.cifar_resnet",
    "cifar_resnet56": f"{_VISION}.cifar_resnet",
    "minilm": "nets",
    "minilm_masked": "nets",
    "vit_b16": "nets",
    "dlrm": "nets",
}
TRANSFORMERS = ("minilm", "minilm_masked", "vit_b16")
CASES = ("resnet18:1", "resnet18:50", "resnet50:1", "resnet50:16", "mobilenet_v2:1", "mobilenet_v2:16",
         "squeezenet1_1:1", "minilm:1", "minilm:8", "vit_b16:1", "dlrm:2048")  # fmt: skip


class Case(NamedTuple):
    model: str
    batch: int

    @classmethod
    def parse(cls, text: str) -> Case:
        model, _, batch = text.partition(":")
        if model not in SOURCES or not (batch or "1").isdigit():
            raise SystemExit(f"case '{text}': expected MODEL:BATCH with one of {', '.join(SOURCES)}")
        return cls(model, int(batch or 1))

    def __str__(self) -> str:
        return f"{self.model}:{self.batch}"

    def folder(self, root: pathlib.Path) -> pathlib.Path:
        """Of its artifacts."""
        return root / str(self).replace(":", "_")


def inputs(case: Case, seed: int = 0) -> list[np.ndarray]:
    """The same arrays for every contender."""
    random = np.random.default_rng(seed)
    if case.model.startswith("minilm"):
        ids = random.integers(0, 30522, (case.batch, 128))
        return [ids] if case.model == "minilm" else [ids, np.ones_like(ids)]
    if case.model == "dlrm":
        shapes: list[tuple[int, ...]] = [(case.batch, 13), (case.batch, 351)]
    else:
        side = 32 if case.model.startswith("cifar") else 224
        shapes = [(case.batch, 3, side, side)]
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def calibration(case: Case) -> list[list[np.ndarray]]:
    return [inputs(case, 10 + i) for i in range(8 if case.batch < 16 else 2)]


def builder(model: str) -> Callable[[], Any]:
    """The function that builds the pt2q module."""
    return getattr(importlib.import_module(SOURCES[model]), model)


def torch_builder(model: str) -> Callable[[], Any]:
    """The function that builds the PyTorch module: the same source file with pt2q's names read as PyTorch's."""
    return getattr(_as_torch(SOURCES[model]), model)


def _as_torch(name: str) -> types.ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {name}")
    source = re.sub(r"\bpt2q\b(?!\.vision)", "torch", pathlib.Path(spec.origin).read_text())
    twin = types.ModuleType(name.replace("pt2q", "torch_twin"))
    twin.__file__ = spec.origin
    sys.modules[twin.__name__] = twin
    exec(compile(source, spec.origin, "exec"), twin.__dict__)
    return twin


def x86_prepared(graph: Any, dynamic: bool = False, attention: bool = False) -> Any:
    """A captured graph with the observers of the x86 quantizer's default configuration; those of the products
    inside attention on demand, which other runtimes' quantizers place by themselves."""
    import pt2q
    from pt2q.ao.quantization.quantize_pt2e import prepare_pt2e
    from pt2q.ao.quantization.quantizer import x86_inductor_quantizer as xiq

    config = xiq.get_default_x86_inductor_quantization_config(is_dynamic=dynamic)
    quantizer = xiq.X86InductorQuantizer().set_global(config)
    if attention:
        quantizer.set_function_type_qconfig(pt2q.nn.functional.scaled_dot_product_attention, config)
    return prepare_pt2e(graph, quantizer)


def x86_converted(graph: Any, batches: Iterable[Sequence[Any]], dynamic: bool = False, attention: bool = False) -> Any:  # fmt: skip
    """A captured graph, calibrated on batches (the inputs of one call each) and converted."""
    from pt2q.ao.quantization.quantize_pt2e import convert_pt2e

    prepared = x86_prepared(graph, dynamic, attention)
    for batch in batches:
        prepared(*batch)
    return convert_pt2e(prepared)
