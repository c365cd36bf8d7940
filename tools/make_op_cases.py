#!/usr/bin/env python3
"""Writes tests/cases/ops/<family>.json: calls of ATen operators with PyTorch's own results.

Needs torch (any CPU build). Deterministic: the same torch writes the same files. Each module of
tools/op_cases describes one family by calling `c.add(op, *args, **kwargs)`; an operator name without
overload means ".default". Usage: make_op_cases.py [family ...]
"""

import importlib
import json
import math
import pathlib
import sys
import zlib

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
FAMILIES = sorted(p.stem for p in (ROOT / "tools/op_cases").glob("*.py"))
INTEGRAL = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def dtype_name(dtype):
    return str(dtype).removeprefix("torch.")


def number(x):
    """JSON has no infinities and NaN; they are written as strings."""
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x


def encode_tensor(t):
    t = t.detach()
    data = t.to(torch.float32) if t.dtype in (torch.bfloat16, torch.float16) else t
    flat = data.reshape(-1).tolist()
    if t.dtype == torch.float32 or data is not t:
        flat = [float(str(v)) for v in data.numpy().reshape(-1)]  # shortest digits of a float32
    if t.dtype == torch.bool:
        flat = [int(v) for v in flat]
    out = {"t": dtype_name(t.dtype), "s": list(t.shape), "d": [number(v) for v in flat]}
    if not t.is_contiguous() and t.numel() > 0 and 0 not in t.stride():
        out["strides"] = list(t.stride())
    return out


def encode(v):
    if isinstance(v, torch.Tensor):
        return encode_tensor(v)
    if isinstance(v, (list, tuple)):
        return [encode(i) for i in v]
    if isinstance(v, torch.dtype):
        return {"dtype": dtype_name(v)}
    if isinstance(v, torch.memory_format):
        return {"format": str(v).removeprefix("torch.")}
    if isinstance(v, torch.device):
        return {"device": str(v)}
    if isinstance(v, float) and not math.isfinite(v):
        return {"f": str(v)}
    return v


def call(op, args, kwargs):
    """Calls with copies of the arguments. torch.ops wants lists where the schema says int[2]; a single
    int stays in the case file, because the dispatcher proper accepts it."""
    args = [clone(a) for a in args]
    for i, (value, declared) in enumerate(zip(args, op._schema.arguments)):
        if isinstance(value, int) and "List[int]" in str(declared.type):
            args[i] = [value] * (declared.N or 1)
    return op(*args, **{k: clone(v) for k, v in kwargs.items()})


def clone(v):
    """A private copy of the arguments, as in-place statistics must not leak into the inputs."""
    if isinstance(v, torch.Tensor):
        return v.clone() if 0 not in v.stride() else v
    if isinstance(v, (list, tuple)):
        return [clone(i) for i in v]
    return v


class Cases:
    def __init__(self, family):
        self.items = []
        self.generator = torch.Generator().manual_seed(zlib.crc32(family.encode()))

    # Inputs have few digits, so that files stay small and readable.
    def randn(self, *sizes, dtype=torch.float32, scale=1.0):
        x = torch.randn(sizes, generator=self.generator) * scale
        return (x * 100).round().div(100).to(dtype)

    def rand(self, *sizes, low=0.0, high=1.0, dtype=torch.float32):
        x = torch.rand(sizes, generator=self.generator) * (high - low) + low
        return (x * 1000).round().div(1000).to(dtype)

    def ints(self, low, high, *sizes, dtype=torch.int64):
        return torch.randint(low, high, sizes, generator=self.generator).to(dtype)

    def bools(self, *sizes):
        return torch.randint(0, 2, sizes, generator=self.generator).bool()

    def overload(self, name):
        packet, _, overload = name.partition(".")
        return getattr(getattr(torch.ops.aten, packet), overload or "default")

    def add(self, names, *args, tolerance=None, values=True, symbolic=True, strides=True,
            infer=True, **kwargs):
        """One case per name: the result must match. `tolerance` is relative and absolute;
        values=False compares shape and dtype only (random operators); symbolic=False: no dynamic
        first dimension; strides=False: the operator depends on the strides of its input; infer=False:
        the shape of the result is not known before the values are."""
        for name in [names] if isinstance(names, str) else names:
            op = self.overload(name)
            expected = call(op, args, kwargs)
            case = {"op": full_name(name), "args": encode(list(args))}
            if kwargs:
                case["kwargs"] = {k: encode(v) for k, v in kwargs.items()}
            case["expected"] = encode(expected)
            if not values:
                case["values"] = False
                strip_data(case["expected"])
            if tolerance is not None:
                case["tolerance"] = tolerance
            if not infer:
                case["infer"] = symbolic = False
            if not symbolic:
                case["symbolic"] = False
            if not strides:
                case["strides"] = False
            if is_view(op, args, kwargs, expected):
                case["view"] = True
            self.items.append(case)

    def error(self, name, error, *args, stricter=False, **kwargs):
        """PyTorch refuses these arguments; pt2q must raise `error`. stricter=True: PyTorch accepts
        them by accident and reads past the end of a tensor."""
        try:
            if stricter:
                raise ValueError
            call(self.overload(name), args, kwargs)
        except Exception:  # PyTorch mostly raises RuntimeError, whatever the mistake
            pass
        else:
            raise AssertionError(f"{name} accepts {args} {kwargs}")
        case = {"op": full_name(name), "args": encode(list(args)), "error": error}
        if kwargs:
            case["kwargs"] = {k: encode(v) for k, v in kwargs.items()}
        self.items.append(case)


def full_name(name):
    return "aten." + (name if "." in name else name + ".default")


def strip_data(expected):
    for item in expected if isinstance(expected, list) else [expected]:
        item["d"] = []


def is_view(op, args, kwargs, expected):
    """The result shares memory with the first argument, in an operator declared as a view."""
    declared = any(r.alias_info and not r.alias_info.is_write for r in op._schema.returns)
    if not declared or not isinstance(expected, torch.Tensor) or expected.numel() == 0:
        return False
    x = clone(args[0])
    out = op(x, *args[1:], **kwargs)
    return out.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def write_schemas(names):
    """PyTorch's declarations of all operators with cases, and of their in-place variants."""
    schemas = {}
    for name in sorted(names):
        _, packet, overload = name.split(".")
        for candidate in (packet, packet + "_"):
            op = getattr(getattr(torch.ops.aten, candidate, None), overload, None)
            if op is None and candidate == "floor_divide_":
                op = torch.ops.aten.floor_divide_.Tensor
            if op is not None:
                text = str(op._schema)
                full = f"aten.{candidate}.{op._overloadname}"
                schemas[full] = spell_enums(text[text.index("("):])
    path = ROOT / "tests/cases/op_schemas.json"
    path.write_text(json.dumps(schemas, indent=0) + "\n")
    print(f"{path.name}: {len(schemas)} schemas")


def spell_enums(text):
    """PyTorch prints enumerations in defaults as numbers."""
    return text.replace("memory_format=0", "memory_format=contiguous_format").replace(
        "ScalarType? dtype=4", "ScalarType? dtype=long")


def main():
    sys.path.insert(0, str(ROOT / "tools"))
    torch.set_num_threads(1)
    names = set()
    for family in sys.argv[1:] or FAMILIES:
        c = Cases(family)
        importlib.import_module(f"op_cases.{family}").cases(c)
        names |= {i["op"] for i in c.items}
        lines = ",\n".join(json.dumps(i, separators=(",", ":")) for i in c.items)
        path = ROOT / f"tests/cases/ops/{family}.json"
        path.write_text(f"[\n{lines}\n]\n")
        print(f"{path.name}: {len(c.items)} cases, {path.stat().st_size // 1024} KiB")
    if not sys.argv[1:]:
        write_schemas(names)


if __name__ == "__main__":
    main()
