#!/usr/bin/env python3
"""Tokens per second of int8 all-MiniLM-L6-v2 on sentences of mixed lengths, against the other runtimes.

    tokens.py --data FOLDER --weights model.safetensors

The sentences of the first STS-B test pairs in the order of the data, eight at a time, each batch cut at its
longest sentence; the first 128 development sentences calibrate (see sts.py, which has the accuracy on all pairs).
Every model takes any size. Contenders take turns, a turn being all batches; each one's vectors are checked against
PyTorch's float32 ones, and their rank correlation with people's scores of these pairs is shown. Runs in the peers'
environment (see peers.py).
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
from typing import Any

from places import RESULTS, WORK

PAIRS = 256
NAMES = ("pt2q_float32", "pt2q_int8", "pt2q_int8_bf16", "pt2q_int8_attention", "pt2q_int8_throughput",
         "pt2q_int8_attention_throughput", "torch_eager", "ort_float32", "ort_qdq", "ort_dynamic", "ov_float32",
         "ov_int8", "ov_int8_throughput")  # fmt: skip


def make_base(case: Any, args: argparse.Namespace) -> dict[str, int]:
    """Weights, batches and PyTorch's answers as prepare.py's other artifacts need them; tokens and cells."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    import prepare
    import sts

    folder = case.folder(args.work)
    folder.mkdir(parents=True, exist_ok=True)
    dev, test = (dict(np.load(args.data / f"stsb_en_{part}_minilm_ids.npz")) for part in ("dev", "test"))
    test = {k: test[k][:, :PAIRS] if test[k].ndim == 3 else test[k][:PAIRS] for k in ("ids", "mask", "score")}
    batches = [list(b) for b in sts.batches(test)]
    facts = {
        "batches": len(batches),
        "tokens": sum(int(mask.sum()) for _, mask in batches),
        "cells": sum(ids.size for ids, _ in batches),
    }
    if not (folder / "base.json").exists():
        prepare.save_batches(folder / "batches.npz", batches)
        prepare.save_batches(folder / "calibration.npz", [list(b) for b in sts.batches(dev, sts.CALIBRATION)])
        np.savez(folder / "inputs.npz", *batches[0])
        np.save(folder / "scores.npy", test["score"])
        state = {k: torch.from_numpy(v.copy()) for k, v in sts.weights(args.weights).items()}
        save_file(state, folder / "weights.safetensors")
        model = prepare._torch_model(case, folder)
        with torch.no_grad():
            answers = [model(*map(torch.from_numpy, b)).numpy() for b in batches]
        np.save(folder / "answer.npy", np.concatenate(answers))
        (folder / "base.json").write_text(json.dumps({"seconds": 0.0}))
    return facts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--weights", type=pathlib.Path, required=True, help="the published model.safetensors")  # fmt: skip
    parser.add_argument("--peer", action="append", help="a contender, repeatable; default: all")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--work", type=pathlib.Path, default=WORK / "sts", help="artifacts")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    args = parser.parse_args()
    import peers

    peers.enter_venv()
    import report as reporting
    from contenders import CONTENDERS
    from harness import ratio, run_rounds, summary
    from workloads import Case

    args.work = args.work.resolve()
    case = Case("minilm_masked", 8)
    facts = make_base(case, args)
    names = [n for n in NAMES if not args.peer or n in args.peer or CONTENDERS[n].ours]
    with open(args.work / "log.txt", "ab") as log:
        running, failed = peers.start(case, names, args, log)
        failed |= run_rounds(running, args.rounds, 0.01)
    found: dict[str, dict[str, Any]] = {}
    for contender in running:
        contender.close()
        row = {**summary(contender, args.clock), **contender.info}
        row["tokens_per_s"] = facts["tokens"] / (1e-3 * row["ms"] * facts["batches"])
        found[contender.name] = row
    ms = {n: r["ms"] for n, r in found.items()}
    by_name = {c.name: c for c in running}
    lines = [f"{facts['tokens']} tokens in {facts['cells']} cells, batches of eight; {args.threads} threads; {args.clock} time."]
    int8 = [n for n in ms if CONTENDERS[n].kind in ("int8", "bf16")]
    summed: dict[str, Any] = {}
    for goal, rivals in (("latency", [n for n in int8 if not n.endswith("_throughput")]), ("throughput", int8)):
        ours, peer = peers.best(ms, rivals, True), peers.best(ms, rivals, False)
        if ours and peer:
            summed[goal] = {"ours": ours, "peer": peer, "times": ratio(by_name[peer], by_name[ours], args.clock)}
            lines.append(f"{goal}: {ours} has {summed[goal]['times']:.2f} times the tokens/s of {peer}.")
    rows = [[n, f"{r['tokens_per_s']:.0f}", f"{r['ms']:.3f}", f"{r['spread']:.2f}", f"{r['spearman']:.2f}", f"{r['sqnr_db']:.1f}"]
            for n, r in sorted(found.items(), key=lambda item: item[1]["ms"])]  # fmt: skip
    table = reporting.table(["contender", "tokens/s", "ms per batch", "spread", "Spearman x 100", "SQNR dB"], rows)
    text = "\n".join(lines) + "\n\n" + table
    machine = reporting.machine(args.threads)
    reporting.write(args.out, "tokens", {"machine": machine, "versions": reporting.versions(), "clock": args.clock, "facts": facts, "goals": summed, "tokens": found, "failed": failed}, text)  # fmt: skip
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
