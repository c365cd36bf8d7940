#!/usr/bin/env python3
"""Makes one artifact of one case in a process of its own: ``prepare.py CASE KIND FOLDER``.

Kinds: base (weights, inputs, calibration data, PyTorch's float32 answer, operation counts), torch_float32,
torch_int8 (torchao X86), onnx, onnx_qdq, onnx_dynamic, openvino_float32, openvino_int8 (NNCF), pt2q_float32,
pt2q_int8, pt2q_int8_attention (the products inside attention too). Times go to KIND.json.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import workloads
from places import HERE
from workloads import Case

NEEDS = {
    "base": [],
    "torch_float32": ["base"],
    "torch_int8": ["base"],
    "onnx": ["base"],
    "onnx_qdq": ["onnx"],
    "onnx_dynamic": ["onnx"],
    "openvino_float32": ["onnx"],
    "openvino_int8": ["onnx"],
    "pt2q_float32": ["base"],
    "pt2q_int8": ["base"],
    "pt2q_int8_attention": ["base"],
}


def _built() -> float:
    """When pt2q was built: its artifacts are made again after a build."""
    spec = workloads.importlib.util.find_spec("pt2q._core")
    return pathlib.Path(spec.origin).stat().st_mtime if spec and spec.origin else 0.0


def ensure(case: Case, kind: str, root: pathlib.Path, log: Any) -> float:
    """Makes the artifact and what it needs, unless there; returns the seconds it took."""
    folder = case.folder(root)
    done = folder / f"{kind}.json"
    stale = kind.startswith("pt2q") and done.exists() and done.stat().st_mtime < _built()
    if not done.exists() or stale:
        for need in NEEDS[kind]:
            ensure(case, need, root, log)
        folder.mkdir(parents=True, exist_ok=True)
        done.unlink(missing_ok=True)
        command = [sys.executable, __file__, str(case), kind, str(root)]
        if subprocess.run(command, stdout=log, stderr=log, cwd=HERE).returncode != 0 or not done.exists():
            raise RuntimeError(f"{case}: making '{kind}' failed")
    return float(json.loads(done.read_text())["seconds"])


def _arrays(path: pathlib.Path) -> list[np.ndarray]:
    with np.load(path) as file:
        return [file[k] for k in file.files]


def load_inputs(folder: pathlib.Path) -> list[np.ndarray]:
    return _arrays(folder / "inputs.npz")


def save_batches(path: pathlib.Path, batches: list[list[np.ndarray]]) -> None:
    np.savez(path, **{f"{i}_{j}": a for i, batch in enumerate(batches) for j, a in enumerate(batch)})


def _batches(path: pathlib.Path) -> list[list[np.ndarray]]:
    found: dict[int, list[np.ndarray]] = {}
    with np.load(path) as file:
        for name in file.files:
            found.setdefault(int(name.split("_")[0]), []).append(file[name])
    return list(found.values())


def load_batches(folder: pathlib.Path) -> list[list[np.ndarray]]:
    """What one round runs: the case's inputs, or the batches of several sizes that lie there."""
    file = folder / "batches.npz"
    return _batches(file) if file.exists() else [load_inputs(folder)]


def _calibration(case: Case, folder: pathlib.Path) -> list[list[np.ndarray]]:
    file = folder / "calibration.npz"
    return _batches(file) if file.exists() else workloads.calibration(case)


def _sizes(folder: pathlib.Path, dim: Any) -> dict[str, Any]:
    """Export's argument for models that take batches of several sizes: rows and their length."""
    if not (folder / "batches.npz").exists():
        return {}
    sizes = {0: dim("batch", min=1, max=64), 1: dim("length", min=2, max=512)}
    return {"dynamic_shapes": (sizes,) * len(load_inputs(folder))}


def _torch_model(case: Case, folder: pathlib.Path) -> Any:
    from safetensors.torch import load_file

    model = workloads.torch_builder(case.model)().eval()
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model


def _tensors(arrays: list[np.ndarray]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.from_numpy(a) for a in arrays)


def _base(case: Case, folder: pathlib.Path) -> None:
    import torch
    from safetensors.torch import save_file
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    model = workloads.torch_builder(case.model)()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.3, 0.3)
        norm.momentum = None
    if norms:  # statistics of random images: activations keep their scale, as in a trained network
        with torch.no_grad():
            model.train()(*_tensors(workloads.inputs(Case(case.model, 8), 99)))
    model.eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "weights.safetensors")  # fmt: skip
    x = workloads.inputs(case)
    np.savez(folder / "inputs.npz", *x)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        answer = model(*_tensors(x))
    np.save(folder / "answer.npy", answer.numpy())
    (folder / "facts.json").write_text(json.dumps({"gop": counter.get_total_flops() / 1e9}))


def torch_batch(arrays: list[np.ndarray]) -> tuple[Any, ...]:
    import torch

    x = _tensors(arrays)
    return tuple(t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in x)


def _torch_float32(case: Case, folder: pathlib.Path) -> None:
    import torch

    program = torch.export.export(_torch_model(case, folder), torch_batch(load_inputs(folder)), **_sizes(folder, torch.export.Dim))
    torch.export.save(program, folder / "torch_float32.pt2")


def torch_prepared(case: Case, folder: pathlib.Path) -> Any:
    """torchao's prepared model. Strict export: with the default one the X86 quantizer refuses a ReLU used twice."""
    import torch
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as xiq
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    model = _torch_model(case, folder)
    program = torch.export.export(model, torch_batch(load_inputs(folder)), strict=True)
    quantizer = xiq.X86InductorQuantizer()
    reduce_range = "vnni" not in pathlib.Path("/proc/cpuinfo").read_text()
    quantizer.set_global(xiq.get_default_x86_inductor_quantization_config(reduce_range=reduce_range))
    return prepare_pt2e(program.module(), quantizer)


def _torch_int8(case: Case, folder: pathlib.Path) -> None:
    import torch
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    prepared = torch_prepared(case, folder)
    with torch.no_grad():
        for x in _calibration(case, folder):
            prepared(*_tensors(x))
        converted = convert_pt2e(prepared)
    move_exported_model_to_eval(converted)
    torch.export.save(torch.export.export(converted, torch_batch(load_inputs(folder))), folder / "torch_int8.pt2")


def _onnx(case: Case, folder: pathlib.Path) -> None:
    import torch
    from onnxruntime.quantization.shape_inference import quant_pre_process

    x = _tensors(load_inputs(folder))
    names = [f"x{i}" for i in range(len(x))]
    raw = folder / "onnx.onnx"
    sizes = _sizes(folder, torch.export.Dim)
    torch.onnx.export(_torch_model(case, folder), x, raw, dynamo=True, opset_version=20, external_data=False, verbose=False, input_names=names, **sizes)  # fmt: skip
    quant_pre_process(str(raw), str(folder / "onnx_pre.onnx"), skip_symbolic_shape=True)


def feed_of(batch: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"x{i}": a for i, a in enumerate(batch)}


def _onnx_qdq(case: Case, folder: pathlib.Path) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = iter(map(feed_of, _calibration(case, folder)))

        def get_next(self) -> Any:
            return next(self.feeds, None)

    vnni = "vnni" in pathlib.Path("/proc/cpuinfo").read_text()
    quantize_static(str(folder / "onnx_pre.onnx"), str(folder / "onnx_qdq.onnx"), Reader(),
                    quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=not vnni,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    extra_options={"WeightSymmetric": True})  # fmt: skip


def _onnx_dynamic(case: Case, folder: pathlib.Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    vnni = "vnni" in pathlib.Path("/proc/cpuinfo").read_text()
    quantize_dynamic(str(folder / "onnx_pre.onnx"), str(folder / "onnx_dynamic.onnx"), per_channel=True, reduce_range=not vnni, weight_type=QuantType.QInt8)  # fmt: skip


def _openvino_float32(case: Case, folder: pathlib.Path) -> None:
    import openvino

    model = openvino.convert_model(str(folder / "onnx.onnx"))
    openvino.save_model(model, str(folder / "openvino_float32.xml"), compress_to_fp16=False)


def _openvino_int8(case: Case, folder: pathlib.Path) -> None:
    import nncf
    import openvino

    model = openvino.convert_model(str(folder / "onnx.onnx"))
    feeds = list(map(feed_of, _calibration(case, folder)))
    kind = nncf.ModelType.TRANSFORMER if case.model in workloads.TRANSFORMERS else None
    model = nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds), model_type=kind, preset=nncf.QuantizationPreset.MIXED, target_device=nncf.TargetDevice.CPU)  # fmt: skip
    openvino.save_model(model, str(folder / "openvino_int8.xml"), compress_to_fp16=False)


def _pt2q_exported(case: Case, folder: pathlib.Path) -> Any:
    import pt2q

    model = workloads.builder(case.model)().eval()
    model.load_state_dict(pt2q.load(folder / "weights.safetensors"))
    return _pt2q_program(model, folder)


def _pt2q_program(model: Any, folder: pathlib.Path) -> Any:
    import pt2q

    inputs = tuple(pt2q.from_numpy(a) for a in load_inputs(folder))
    return pt2q.export.export(model, inputs, **_sizes(folder, pt2q.export.Dim))


def pt2q_prepared(case: Case, folder: pathlib.Path) -> Any:
    return workloads.x86_prepared(_pt2q_exported(case, folder).module())


def _pt2q_float32(case: Case, folder: pathlib.Path) -> None:
    import pt2q

    pt2q.export.save(_pt2q_exported(case, folder), folder / "pt2q_float32.pt2")


def _pt2q_int8(case: Case, folder: pathlib.Path, attention: bool = False) -> None:
    import pt2q

    graph = _pt2q_exported(case, folder).module()
    converted = workloads.x86_converted(graph, _calibration(case, folder), attention=attention)
    pt2q.export.save(_pt2q_program(converted, folder), folder / f"pt2q_int8{'_attention' if attention else ''}.pt2")


def _pt2q_int8_attention(case: Case, folder: pathlib.Path) -> None:
    _pt2q_int8(case, folder, attention=True)


def main() -> None:
    case, kind, root = Case.parse(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    folder = case.folder(root)
    make: Callable[[Case, pathlib.Path], None] = globals()[f"_{kind}"]
    start = time.perf_counter()
    make(case, folder)
    (folder / f"{kind}.json").write_text(json.dumps({"seconds": round(time.perf_counter() - start, 3)}))


if __name__ == "__main__":
    main()
