#!/usr/bin/env python3
"""Sentence similarity with real weights: int8 all-MiniLM-L6-v2 on the STS-B test pairs, against torchao's.

    sts.py --data FOLDER --weights model.safetensors

FOLDER holds stsb_en_{dev,test}_minilm_ids.npz: token ids and masks [2, pairs, 40], and people's scores. The
first 128 development sentences calibrate. Prints Spearman's correlation (times 100) of cosine similarity with
the scores, and tokens per second over batches of eight whose length is that of their longest sentence, so
that nearly every batch has another shape. Needs PyTorch and torchao.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import report as reporting
import workloads
from harness import spearman
from places import RESULTS

BATCH, CALIBRATION = 8, 128
INT8: dict[str, dict[str, bool]] = {
    "pt2q_int8": {},
    "pt2q_int8_dynamic": {"dynamic": True},
    "pt2q_int8_attention": {"attention": True},
}


def batches(file: Any, count: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Eight sentences each, cut at the longest: ids and mask, int64."""
    ids, mask = (file[k].reshape(-1, file[k].shape[-1])[:count].astype(np.int64) for k in ("ids", "mask"))
    for start in range(0, len(ids), BATCH):
        rows = slice(start, start + BATCH)
        length = int(mask[rows].sum(1).max())
        yield np.ascontiguousarray(ids[rows, :length]), np.ascontiguousarray(mask[rows, :length])


def weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Published weights under our names."""
    import pt2q
    from nets import MINILM_NAMES

    state = {}
    for name, tensor in pt2q.load(path).items():
        for old, new in MINILM_NAMES:
            name = name.replace(old, new)
        if "pooler" not in name and "position_ids" not in name:
            state[name] = tensor.numpy()
    return state


def measure(model: Callable[..., Any], test: Any) -> dict[str, float]:
    given = list(batches(test))
    for ids, mask in given[:4]:
        model(ids, mask)
    start = time.perf_counter()
    found = np.concatenate([np.asarray(model(ids, mask)) for ids, mask in given])
    seconds = time.perf_counter() - start
    return {
        "spearman": spearman(found, test["score"]),
        "tokens_per_s": sum(int(mask.sum()) for _, mask in given) / seconds,
    }


def ours(state: dict[str, np.ndarray], dev: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    import pt2q

    model = workloads.builder("minilm_masked")().eval()
    model.load_state_dict({k: pt2q.from_numpy(v) for k, v in state.items()})
    example = tuple(pt2q.from_numpy(a) for a in next(batches(dev)))
    batch, length = pt2q.export.Dim("batch", min=1, max=64), pt2q.export.Dim("length", min=2, max=512)
    shapes = ({0: batch, 1: length}, {0: batch, 1: length})

    def capture() -> Any:
        return pt2q.export.export(model, example, dynamic_shapes=shapes).module()

    yield "pt2q_float32", pt2q.compile(capture())
    for name, options in INT8.items():
        converted = workloads.x86_converted(capture(), batches(dev, CALIBRATION), **options)
        yield name, pt2q.compile(converted)


def theirs(state: dict[str, np.ndarray], dev: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    import torch
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as xiq
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    model = workloads.torch_builder("minilm_masked")().eval().requires_grad_(False)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    example = tuple(torch.from_numpy(a) for a in next(batches(dev)))
    batch, length = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("length", min=2, max=512)
    program = torch.export.export(model, example, dynamic_shapes=({0: batch, 1: length},) * 2, strict=True)

    def call(graph: Any) -> Callable[..., Any]:
        return lambda ids, mask: graph(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    yield "torch_float32", call(program.module())
    quantizer = xiq.X86InductorQuantizer()
    quantizer.set_global(xiq.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(program.module(), quantizer)
    for ids, mask in batches(dev, CALIBRATION):
        call(prepared)(ids, mask)
    yield "torchao_qdq", call(convert_pt2e(prepared))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--weights", type=pathlib.Path, required=True, help="the published model.safetensors")  # fmt: skip
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    args = parser.parse_args()
    import torch

    import pt2q

    state = weights(args.weights)
    torch.set_num_threads(pt2q.get_num_threads())
    dev, test = (np.load(args.data / f"stsb_en_{part}_minilm_ids.npz") for part in ("dev", "test"))
    found = {}
    for name, model in (*ours(state, dev), *theirs(state, dev)):
        found[name] = measure(model, test)
        print(name, found[name], flush=True)
    rows = [[n, f"{r['spearman']:.2f}", f"{r['tokens_per_s']:.0f}"] for n, r in found.items()]
    table = reporting.table(["all-MiniLM-L6-v2, STS-B test", "Spearman x 100", "tokens/s"], rows)
    machine = reporting.machine(pt2q.get_num_threads())
    reporting.write(args.out, "sts", {"machine": machine, "versions": reporting.versions(), "sts": found}, table)
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
