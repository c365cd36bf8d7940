#!/usr/bin/env python3
"""Single operators, on the cases of tests/cases/ops: pt2q (compiled) against PyTorch and ONNX Runtime.

For each operator the case that grows largest is used: tensors are repeated along their first dimension
while PyTorch's result grows alike. All three run in one process and take turns; the least time counts.
Needs the peers' environment, which it makes like benchmarks/peers.py does.

    benchmarks/ops.py                         every operator with a float32 case
    benchmarks/ops.py --only conv --no-onnx   operators whose name contains "conv"
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import pathlib
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from peers import enter_venv
from places import RESULTS, ROOT

ELEMENTS = 1 << 18  # aimed at, in the largest tensor of a case
CLOSE = 1e-3  # largest difference from PyTorch, relative to the largest value


class Case:
    """One call of an operator with PyTorch tensors for tensors."""

    def __init__(self, source: dict[str, Any]) -> None:
        self.name = source["op"]
        self.args = [_decode(a) for a in source["args"]]
        for i, (value, declared) in enumerate(zip(self.args, self.torch_op._schema.arguments)):
            if isinstance(value, int) and "List[int]" in str(declared.type):
                self.args[i] = [value] * (declared.N or 1)
        self.kwargs = {k: _decode(v) for k, v in source.get("kwargs", {}).items()}

    @property
    def torch_op(self) -> Any:
        import torch

        space, op, overload = self.name.split(".")
        return getattr(getattr(getattr(torch.ops, space), op), overload)

    def call(self) -> Any:
        return self.torch_op(*self.args, **self.kwargs)

    def tensors(self) -> list[Any]:
        return _tensors([self.args, list(self.kwargs.values())])

    def with_tensors(self, tensors: Iterator[Any]) -> tuple[list[Any], dict[str, Any]]:
        return _replace(self.args, tensors), _replace(self.kwargs, tensors)


def _decode(value: Any) -> Any:
    import torch

    if isinstance(value, list):
        return [_decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "t" in value:
        dtype = getattr(torch, value["t"])
        numbers = [float(v) if isinstance(v, str) else v for v in value["d"]]
        tensor = torch.tensor(numbers, dtype=dtype).reshape(value["s"])
        if "strides" in value:
            strided = torch.empty_strided(value["s"], value["strides"], dtype=dtype)
            return strided.copy_(tensor)
        return tensor
    if "dtype" in value:
        return getattr(torch, value["dtype"])
    if "device" in value:
        return torch.device(value["device"])
    if "format" in value:
        return getattr(torch, value["format"])
    return float(value["f"])


def _tensors(value: Any) -> list[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (list, tuple)) else []


def _replace(value: Any, tensors: Iterator[Any]) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, (list, tuple)):
        return [_replace(v, tensors) for v in value]
    if isinstance(value, dict):
        return {k: _replace(v, tensors) for k, v in value.items()}
    return value


def grow(case: Case) -> Case:
    """The same call on larger tensors: those whose first size is the first tensor's are repeated, if the result grows alike."""
    tensors = case.tensors()
    largest = max(t.numel() for t in tensors)
    recurrent = case.name.split(".")[1] in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    if largest == 0 or tensors[0].dim() == 0 or largest >= ELEMENTS or recurrent:
        return case  # PyTorch crashes on states that do not fit the batch
    times = max(1, ELEMENTS // largest)
    before = _tensors([case.call()])
    rows = tensors[0].shape[0]
    for chosen in ([t for t in tensors if t.dim() > 0 and t.shape[0] == rows], tensors[:1]):
        ids = {id(t) for t in chosen}
        larger = Case.__new__(Case)
        larger.name = case.name
        grown = iter([t.repeat(times, *[1] * (t.dim() - 1)) if id(t) in ids else t for t in tensors])
        larger.args, larger.kwargs = case.with_tensors(grown)
        try:
            after = _tensors([larger.call()])
        except (RuntimeError, IndexError, ValueError):
            continue
        if after and before[0].dim() and after[0].shape[0] == times * before[0].shape[0]:
            return larger
    return case


def cases(only: str) -> dict[str, Case]:
    """Operator: its largest float32 case after growing."""
    import torch

    found: dict[str, Case] = {}
    size: dict[str, int] = {}
    for file in sorted((ROOT / "tests/cases/ops").glob("*.json")):
        for source in json.loads(file.read_text()):
            if only not in source["op"] or not source["op"].startswith("aten."):
                continue
            if "error" in source:  # PyTorch checks fewer arguments than pt2q, and may crash
                continue
            case = Case(source)
            tensors = case.tensors()
            if not tensors or tensors[0].dtype not in (torch.float32, torch.int64):
                continue
            try:
                if not _tensors([case.call()]):
                    continue  # a number: nothing to compare
                case = grow(case)
                elements = max(t.numel() for t in case.tensors())
            except (RuntimeError, NotImplementedError, IndexError, ValueError, TypeError):
                continue
            if elements > size.get(case.name, 0):
                found[case.name], size[case.name] = case, elements
    return found


def _ours(case: Case) -> Callable[[], Any]:
    import pt2q

    def convert(value: Any) -> Any:
        text = str(value)
        return getattr(pt2q, text.removeprefix("torch.")) if text.startswith("torch.") else value

    space, op, overload = case.name.split(".")
    function = getattr(getattr(getattr(pt2q.ops, space), op), overload)
    tensors = [pt2q.from_dlpack(t) for t in case.tensors()]

    def forward(*inputs: Any) -> Any:
        args, kwargs = case.with_tensors(iter(inputs))
        return function(*map(convert, args), **{k: convert(v) for k, v in kwargs.items()})

    model = pt2q.compile(forward)
    return lambda: model(*tensors)


def _onnx(case: Case, threads: int) -> Callable[[], Any]:
    """ONNX Runtime on PyTorch's own export of the call; raises where it does not map."""
    import onnxruntime
    import torch

    class Module(torch.nn.Module):
        def forward(self, *inputs: Any) -> Any:
            args, kwargs = case.with_tensors(iter(inputs))
            return case.torch_op(*args, **kwargs)

    file = io.BytesIO()
    program = torch.onnx.export(Module(), tuple(case.tensors()), dynamo=True, opset_version=20, verbose=False)  # fmt: skip
    program.save(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    arrays = [t.numpy() for t in case.tensors()]
    if len(names) != len(arrays):
        raise ValueError("the export dropped an input")
    feed = dict(zip(names, arrays))
    return lambda: session.run(None, feed)


def _difference(answer: Any, reference: Any) -> float:
    """Largest difference, relative to the largest value; infinite where the shapes differ."""
    import numpy as np

    first = answer[0] if isinstance(answer, (list, tuple)) else answer
    a, r = (np.nan_to_num(np.asarray(v, np.float64)) for v in (first, reference))
    if a.shape != r.shape:
        return float("inf")
    return float(np.abs(a - r).max() / max(1.0, np.abs(r).max())) if a.size else 0.0


def measure(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """Microseconds of each library, and why one is missing."""
    import pt2q

    want = _tensors([case.call()])[0].double().numpy()
    calls: dict[str, Callable[[], Any]] = {"torch": case.call}
    missing: dict[str, str] = {}
    makers: dict[str, Callable[[], Callable[[], Any]]] = {"pt2q": lambda: _ours(case)}
    if not args.no_onnx:
        makers["ort"] = lambda: _onnx(case, args.threads)
    for name, make in makers.items():
        try:
            call = make()
            answer = call()
            if name == "pt2q":
                first = answer[0] if isinstance(answer, (list, tuple)) else answer
                answer = first.to(pt2q.float64).numpy()
            error = _difference(answer, want)
            if not error < CLOSE:
                raise ValueError(f"another answer than PyTorch's: {error:.3g}")
            calls[name] = call
        except Exception as error:  # an operator that one library lacks must not end the run
            missing[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
    best = dict.fromkeys(calls, float("inf"))
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    stop = time.perf_counter() + args.seconds
    while time.perf_counter() < stop:
        for name, call in calls.items():
            start = clock()
            call()
            best[name] = min(best[name], clock() - start)
    return {
        "us": {n: 1e6 * s for n, s in best.items()},
        "shapes": [list(t.shape) for t in case.tensors()],
        "missing": missing,
    }


def text(report: dict[str, Any]) -> str:
    from report import table

    machine = report["machine"]
    lines = [f"{machine['cpu']}; {machine['isa']}; {machine['threads']} threads; {machine['date']}; {report['clock']} time.", ""]  # fmt: skip
    rows = []
    for name, row in sorted(report["ops"].items(), key=lambda i: -_slowness(i[1])):
        us = row["us"]
        cells = [f"{us[n]:.1f}" if n in us else "" for n in ("pt2q", "torch", "ort")]
        share = f"{_slowness(row):.2f}" if "pt2q" in us else row["missing"].get("pt2q", "")
        rows.append([name, "; ".join("x".join(map(str, s)) for s in row["shapes"]), *cells, share])
    lines += [table(["operator", "inputs", "pt2q us", "torch us", "ort us", "ours / best"], rows)]
    slower = sum(_slowness(r) > 1 for r in report["ops"].values() if "pt2q" in r["us"])
    lines += [f"{len(rows)} operators; slower than the best peer: {slower}"]
    return "\n".join(lines) + "\n"


def _slowness(row: dict[str, Any]) -> float:
    """Our time over the best other's; infinite where we have none."""
    others = [v for n, v in row["us"].items() if n != "pt2q"]
    return row["us"].get("pt2q", float("inf")) / min(others)


def _give_up(*_: Any) -> None:
    raise TimeoutError("took too long")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--only", default="", help="part of the operator's name")
    parser.add_argument("--no-onnx", action="store_true", help="leave ONNX Runtime out: exporting takes seconds per operator")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.15, help="per operator")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    return parser.parse_args()


def main() -> int:
    args = arguments()
    enter_venv()
    import torch

    import pt2q
    import report as reporting

    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    logging.disable(logging.ERROR)  # exporters are talkative
    pt2q.set_num_threads(args.threads)
    report: dict[str, Any] = {"machine": reporting.machine(args.threads), "versions": reporting.versions(), "clock": args.clock, "ops": {}}  # fmt: skip
    signal.signal(signal.SIGALRM, _give_up)
    for name, case in cases(args.only).items():
        signal.alarm(60)
        try:
            report["ops"][name] = row = measure(case, args)
        except TimeoutError:
            continue
        finally:
            signal.alarm(0)
        print(name, {n: round(v, 1) for n, v in row["us"].items()}, row["missing"] or "", flush=True)
    reporting.write(args.out, "ops", report, text(report))
    groups = {"ours / best of the others, slowest": {n: _slowness(r) for n, r in sorted(report["ops"].items(), key=lambda i: -_slowness(i[1]))[:30] if "pt2q" in r["us"]}}  # fmt: skip
    if groups["ours / best of the others, slowest"]:
        reporting.bars(groups, "times the best other's", report["machine"]["isa"], args.out / "ops.png")
    print(text(report).splitlines()[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
