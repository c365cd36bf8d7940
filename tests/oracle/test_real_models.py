"""Real weights and images: our int8 against torchao's quantized model, on a part of the images.

benchmarks/accuracy.py measures the same on all of them.
"""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("PT2Q_SHARED", ROOT.parent / "shared")) / "data"
sys.path.insert(0, str(ROOT / "benchmarks"))

import accuracy

pytestmark = pytest.mark.skipif(
    not (DATA / "imagenet_sample" / "labels.csv").exists(),
    reason=f"NOT CHECKED: real models and images are not at {DATA} (set PT2Q_SHARED)",
)


# SQNR: float32 sums of observers' inputs differ in the last bits, so a scale may differ by one ulp
# and single values by one step; 0.3 dB is far below what a wrong scale would cost.
@pytest.mark.parametrize(("model", "images"), [("mobilenet_v2", 100)])
def test_int8_of_a_real_model_agrees_with_torchao(model, images):
    task = accuracy.load_task(model, DATA, images)
    found = accuracy.figures(accuracy.compare(model, task, images))
    assert found["images"] == images
    assert found["agreement_with_qdq"] >= 99
    assert found["agreement_with_torchao"] >= 98
    assert found["sqnr_int8"] >= found["sqnr_torchao"] - 0.3
    assert abs(found["top1_int8"] - found["top1_torchao"]) <= 2.0  # two images of a hundred
    assert found["top1_float32"] > 80
