"""Interleaved timing of contenders, each in a process of its own that stays alive.

Rounds go A B C A B C ..., so that a slow moment of a shared machine hits all alike. Each sample records the
CPU time that other programs used meanwhile (/proc/stat); disturbed samples are left out where enough quiet
ones remain. Ratios are taken inside a round and the median over rounds is reported.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

import numpy as np

FOREIGN_CPUS = 0.25  # a sample during which others kept more CPUs busy than this is disturbed


class Failed(RuntimeError):
    """A contender did not start or computes something else."""


class Sample(NamedTuple):
    """One contender's part of one round."""

    seconds: float  # median per batch
    best: float
    cpu: float  # CPU seconds per batch, all threads: other programs do not count
    foreign: float  # CPUs that other programs kept busy
    calls: int

    @property
    def quiet(self) -> bool:
        return self.foreign < FOREIGN_CPUS


def busy() -> float:
    """CPU seconds the whole machine has worked since boot."""
    fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Contender:
    """The parent's end of one worker process."""

    def __init__(self, name: str, case: str, folder: pathlib.Path, threads: int, log: Any = None) -> None:  # fmt: skip
        self.name = name
        self.samples: list[Sample] = []
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        command = [sys.executable, __file__, name, case, str(folder), str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env)  # fmt: skip
        self.info = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} stopped (exit code {self._process.wait()})")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            self._process.wait()
            raise Failed(str(reply["error"]))
        return reply

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def sample(self, seconds: float) -> None:
        before = busy()
        reply = self._ask({"seconds": seconds})
        foreign = max(0.0, busy() - before - reply["cpu"]) / reply["wall"]
        times = reply["times"]
        self.samples.append(Sample(statistics.median(times), min(times), reply["cpu"] / reply["batches"], foreign, len(times)))  # fmt: skip

    def steps(self, runs: int) -> list[dict[str, Any]]:
        """Our contenders: the seconds of each step; [] for the others."""
        return self._ask({"steps": runs})["rows"]  # type: ignore[no-any-return]

    def close(self) -> None:
        """Ends the worker; its memory goes into ``info``."""
        try:
            self.info.update(self._ask({"stop": True}))
            self._process.communicate("", timeout=60)
        except (Failed, BrokenPipeError):
            self._process.kill()


def run_rounds(contenders: list[Contender], rounds: int, seconds: float) -> dict[str, str]:
    """Samples all in turn. A contender that stops leaves the list; returns their errors by name."""
    failed = {}
    for _ in range(rounds):
        for contender in list(contenders):
            try:
                contender.sample(seconds)
            except (Failed, BrokenPipeError) as error:
                failed[contender.name] = f"stopped while being timed: {error}"
                contenders.remove(contender)
    return failed


def _chosen(samples: list[Sample]) -> list[Sample]:
    quiet = [s for s in samples if s.quiet]
    return quiet if 3 * len(quiet) >= len(samples) else samples


def value(sample: Sample, clock: str) -> float:
    return sample.cpu if clock == "cpu" else sample.seconds


def summary(contender: Contender, clock: str = "wall") -> dict[str, Any]:
    """Milliseconds per batch over the quiet rounds."""
    used = [1e3 * value(s, clock) for s in _chosen(contender.samples)]
    return {
        "ms": statistics.median(used),
        "best_ms": 1e3 * min(s.cpu if clock == "cpu" else s.best for s in contender.samples),
        "spread": max(used) / min(used),
        "cpu_ms": 1e3 * statistics.median(s.cpu for s in _chosen(contender.samples)),
        "quiet_rounds": sum(s.quiet for s in contender.samples),
        "rounds": len(contender.samples),
        "calls": sum(s.calls for s in contender.samples),
    }


def ratio(slow: Contender, fast: Contender, clock: str = "wall") -> float:
    """How many times faster ``fast`` is: median over the rounds in which both ran undisturbed, if there are enough."""
    pairs = list(zip(slow.samples, fast.samples))
    quiet = [(s, f) for s, f in pairs if s.quiet and f.quiet]
    used = quiet if 3 * len(quiet) >= len(pairs) else pairs
    return statistics.median(value(s, clock) / value(f, clock) for s, f in used)


def sqnr(reference: np.ndarray, other: np.ndarray) -> float:
    """Signal-to-noise ratio in dB about the mean of the signal; at most 200."""
    r, o = reference.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    if r.shape != o.shape or not np.isfinite(o).all():
        return float("-inf")
    noise = float(np.linalg.norm(r - o))
    return min(200.0, 20 * float(np.log10(np.linalg.norm(r - r.mean()) / noise))) if noise else 200.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Positions in order; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]  # type: ignore[no-any-return]


def spearman(vectors: np.ndarray, scores: np.ndarray) -> float:
    """Rank correlation, times 100, of people's scores of pairs with the cosines of unit vectors: the first of
    all pairs, then the second."""
    first, second = vectors.reshape(2, -1, vectors.shape[-1])
    return 100 * float(np.corrcoef(_ranks((first * second).sum(1)), _ranks(scores))[0, 1])


def _memory() -> dict[str, float]:
    text = pathlib.Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in text if line.startswith(("VmRSS", "VmHWM"))}  # fmt: skip
    return {"rss_mb": found["VmRSS"], "peak_mb": found["VmHWM"]}


def _worker(name: str, case_text: str, folder: pathlib.Path, threads: int) -> None:
    protocol = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not disturb the protocol
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    try:
        loaded, info = _load(name, case_text, folder, threads)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}), file=protocol)  # fmt: skip
        raise
    print(json.dumps(info), file=protocol)
    for line in sys.stdin:
        request = json.loads(line)
        if "stop" in request:
            print(json.dumps(_memory()), file=protocol)
            return
        if "steps" in request:
            rows = loaded.steps(request["steps"]) if loaded.steps else []
            print(json.dumps({"rows": rows}), file=protocol)
            continue
        print(json.dumps(_measure(loaded, request["seconds"])), file=protocol)


def _load(name: str, case_text: str, folder: pathlib.Path, threads: int) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    from contenders import CONTENDERS
    from workloads import Case

    spec = CONTENDERS[name]
    begin = time.perf_counter()
    module = importlib.import_module(f"contenders.{spec.module}")
    imported = time.perf_counter()
    info: dict[str, Any] = {"import_s": imported - begin, "import_mb": _memory()["rss_mb"]}
    loaded = module.load(spec.variant, Case.parse(case_text), folder, threads)
    ready = time.perf_counter()
    answer = loaded.call()
    info |= {"load_s": ready - imported, "first_call_s": time.perf_counter() - ready}
    output = np.asarray(loaded.output(answer))
    info["sqnr_db"] = sqnr(np.load(folder / "answer.npy"), output)
    scores = folder / "scores.npy"  # sentence pairs that people have compared
    if scores.exists():
        info["spearman"] = spearman(output, np.load(scores))
    info |= {"file_mb": loaded.bytes / 1e6, **loaded.facts}
    for _ in range(2):
        loaded.call()
    return loaded, info


def _measure(loaded: Any, seconds: float) -> dict[str, Any]:
    times: list[float] = []
    cpu, begin = time.process_time(), time.perf_counter()
    while not times or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        loaded.call()
        times.append((time.perf_counter() - start) / loaded.items)
    return {"times": times, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - begin,
            "batches": len(times) * loaded.items}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="worker process of a benchmark")
    parser.add_argument("name")
    parser.add_argument("case")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("threads", type=int)
    args = parser.parse_args()
    _worker(args.name, args.case, args.folder, args.threads)


if __name__ == "__main__":
    main()
