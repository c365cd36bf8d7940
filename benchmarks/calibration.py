#!/usr/bin/env python3
"""Calibration speed of every front end: images per second of CPU time, ResNet-18.

The captured graph (prepare_pt2e) runs through one plan; QuantConf and eager mode call the model as it is,
operator by operator. Prints one JSON object.

    benchmarks/calibration.py [--batch 4] [--batches 3] [--size 224] [--front-ends float prepare_pt2e ...]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import places  # noqa: F401  pt2q is the build tree's
import pt2q as torch
import workloads
from pt2q import quantization as eager
from pt2q.ipex import quantization as ipex
from pt2q.vision import models

Run = Callable[[Any], Any]


def make_model() -> Any:
    torch.manual_seed(0)
    return models.resnet18().eval()


def run_float(x: Any) -> Run:
    return torch.export.export(make_model(), (x,)).module()


def run_prepared(x: Any) -> Run:
    return workloads.x86_prepared(run_float(x))


def run_eager_float(_: Any) -> Run:
    return make_model()


def run_eager(_: Any) -> Run:
    model = eager.QuantWrapper(make_model())
    model.qconfig = eager.QConfig(activation=eager.MinMaxObserver, weight=eager.default_weight_observer)
    return eager.prepare(model)


def run_quantconf(_: Any) -> Run:
    model, conf = make_model(), ipex.QuantConf()

    def run(x: Any) -> Any:
        with ipex.calibrate(conf):
            return model(x)

    return run


FRONT_ENDS: dict[str, Callable[[Any], Run]] = {
    "float": run_float,
    "prepare_pt2e": run_prepared,
    "modules": run_eager_float,
    "eager": run_eager,
    "quantconf": run_quantconf,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--front-ends", nargs="*", default=list(FRONT_ENDS), choices=list(FRONT_ENDS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((args.batch, 3, args.size, args.size), np.float32))
    result: dict[str, Any] = {"isa": torch.isa_name(), "threads": torch.get_num_threads(), "batch": args.batch, "size": args.size}
    for name in args.front_ends:
        run = FRONT_ENDS[name](x)
        run(x)
        times = []
        for _ in range(args.batches):
            begin = time.process_time()
            run(x)
            times.append(time.process_time() - begin)
        result[name] = round(args.batch / min(times), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
