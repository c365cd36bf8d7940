"""Every import path of PyTorch's PT2E documents, old and new, resolves: torch, torchao -> pt2q."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

QUANTIZER_MODULES = {
    "x86_inductor_quantizer": ["X86InductorQuantizer", "get_default_x86_inductor_quantization_config"],
    "xpu_inductor_quantizer": ["XPUInductorQuantizer", "get_default_xpu_inductor_quantization_config"],
    "xnnpack_quantizer": ["XNNPACKQuantizer", "get_symmetric_quantization_config"],
    "composable_quantizer": ["ComposableQuantizer"],
    "embedding_quantizer": ["EmbeddingQuantizer", "get_embedding_operators_config"],
    "quantizer": ["Quantizer", "QuantizationSpec", "SharedQuantizationSpec", "EdgeOrNode"],
    "utils": ["annotate_input_qspec_map", "annotate_output_qspec", "QuantizationConfig"],
}
TRAIN_EVAL = [
    "move_exported_model_to_eval",
    "move_exported_model_to_train",
    "allow_exported_model_train_eval",
]
FLOW = ["prepare_pt2e", "convert_pt2e"]
PATHS = {
    "ao.quantization.quantize_pt2e": FLOW,
    "ao.quantization": [*TRAIN_EVAL, "HistogramObserver", "FakeQuantize"],
    "ao.quantization.observer": ["MinMaxObserver", "default_observer", "PerGroup", "MappingType"],
    "ao.quantization.fake_quantize": ["FakeQuantize", "default_fake_quant", "disable_observer"],
    "ao.quantization.qconfig": ["QConfig", "get_default_qconfig"],
    "ao.quantization.pt2e.export_utils": TRAIN_EVAL,
    "ao.quantization.pt2e._affine_quantization": ["AffineQuantizedMinMaxObserver"],
    "ao.quantization.quantizer": ["Quantizer", "QuantizationAnnotation", "DerivedQuantizationSpec"],
    "ao.quantization.quantizer.xnnpack_quantizer_utils": ["OperatorConfig", "get_bias_qspec"],
    "quantization.pt2e": [*TRAIN_EVAL, "HistogramObserver", "FakeQuantize", "LearnableFakeQuantize"],
    "quantization.pt2e.quantize_pt2e": FLOW,
    "quantization.pt2e.quantizer": ["Quantizer", "QuantizationSpec", "ComposableQuantizer"],
    "quantization.pt2e.observer": ["HistogramObserver", "AffineQuantizedObserverBase"],
    "quantization.pt2e.fake_quantize": ["FakeQuantize", "AffineFakeQuantize"],
    "quantization.pt2e.learnable_fake_quantize": ["LearnableFakeQuantize"],
    "quantization.pt2e.quantizer.arm_inductor_quantizer": ["ArmInductorQuantizer"],
    "quantization.pt2e.lowering": ["lower_pt2e_quantized_to_x86"],
    "quantization.granularity": ["PerGroup", "PerAxis"],
    "backends.xnnpack.quantizer.xnnpack_quantizer": ["XNNPACKQuantizer"],
    **{f"ao.quantization.quantizer.{m}": names for m, names in QUANTIZER_MODULES.items()},
    **{f"quantization.pt2e.quantizer.{m}": names for m, names in QUANTIZER_MODULES.items()},
}


@pytest.mark.parametrize("path", PATHS)
def test_path(path):
    module = importlib.import_module(f"pt2q.{path}")
    for name in PATHS[path]:
        assert getattr(module, name) is not None


def test_one_class_per_name():
    """The same object under every path: instances of one path are accepted by the other."""
    old = importlib.import_module("pt2q.ao.quantization.quantizer.x86_inductor_quantizer")
    new = importlib.import_module("pt2q.quantization.pt2e.quantizer.x86_inductor_quantizer")
    assert old.X86InductorQuantizer is new.X86InductorQuantizer


def in_a_fresh_process(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("use", "left_out"),
    [
        ("import pt2q", ["pt2q.ao", "pt2q.export", "pt2q.nn"]),
        ("import pt2q; pt2q.compile", ["pt2q.ao", "pt2q.export", "pt2q.nn"]),
        ("from pt2q.ao.quantization.quantize_pt2e import prepare_pt2e", ["pt2q.ao.nn", "pt2q.ao.quantization.quantize", "pt2q.nn"]),
        ("from pt2q.quantization.pt2e.quantize_pt2e import prepare_pt2e", ["pt2q.ao.nn", "pt2q.jit", "pt2q.nn"]),
    ],
)  # fmt: skip
def test_an_import_loads_what_it_needs(use, left_out):
    in_a_fresh_process(f"{use}\nimport sys\nfound = sys.modules.keys() & {left_out}\nassert not found, found")


@pytest.mark.parametrize("package", ["ao.quantization", "quantization"])
def test_eager_mode_is_complete_when_asked_for(package):
    module = importlib.import_module(f"pt2q.{package}")
    names = ["prepare_qat", "QConfig", "QuantStub", "fuse_modules", "get_default_qat_module_mappings", "MinMaxObserver"]
    star: dict = {}
    exec(f"from pt2q.{package} import *", star)
    for name in names:
        assert getattr(module, name) is star[name] and name in dir(module)
    with pytest.raises(AttributeError, match=f"module 'pt2q.{package}' has no attribute 'no_such_name'"):
        _ = module.no_such_name


@pytest.mark.parametrize(
    ("package", "name"),
    [("ao.quantization", "quantize"), ("ao.quantization", "fuse_modules"), ("quantization", "quantize_jit")],
)
def test_a_function_keeps_its_name_where_a_module_has_it_too(package, name):
    """Python binds an imported module in its package; PyTorch's package has the function there."""
    before = f"import pt2q.{package} as p; f = p.{name}; import pt2q.{package}.{name}; assert p.{name} is f and callable(f)"
    after = f"import pt2q.{package}.{name}, pt2q.{package} as p; assert p.{name}.__name__ == '{name}' and callable(p.{name})"
    in_a_fresh_process(before)
    in_a_fresh_process(after)
