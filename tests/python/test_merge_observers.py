"""Calibration split over workers: copies of a prepared model, merged, equal one model that saw all."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import pt2q
from pt2q.ao.quantization.observer import GridHistogramObserver, PerChannelMinMaxObserver
from pt2q.ao.quantization.pt2e import merge_observers
from pt2q.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
from pt2q.ao.quantization.quantizer import QuantizationConfig, QuantizationSpec
from pt2q.ao.quantization.quantizer.x86_inductor_quantizer import X86InductorQuantizer

ACTIVATION = QuantizationSpec(
    pt2q.uint8, GridHistogramObserver.with_args(eps=2**-12), 0, 255, pt2q.per_tensor_affine
)
WEIGHT = QuantizationSpec(
    pt2q.int8, PerChannelMinMaxObserver, -128, 127, pt2q.per_channel_symmetric, ch_axis=0
)


class Net(pt2q.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = pt2q.nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = pt2q.nn.Conv2d(8, 8, 3, padding=1)
        self.relu = pt2q.nn.ReLU()

    def forward(self, x):
        a = self.relu(self.conv(x))
        return self.relu(self.conv2(a) + a)


def batches(count):
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((2, 3, 6, 6)) * (1 + i)).astype(np.float32) for i in range(count)]


def prepared():
    x = batches(1)[0]
    quantizer = X86InductorQuantizer().set_global(QuantizationConfig(ACTIVATION, ACTIVATION, WEIGHT, None))
    return prepare_pt2e(pt2q.export.export(Net().eval(), (x,)).module(), quantizer)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_split_calibration_equals_the_unsplit_one(workers):
    data = batches(8)
    whole = prepared()
    parts = [copy.deepcopy(whole) for _ in range(workers)]
    for x in data:
        whole(x)
    for i, part in enumerate(parts):
        for x in data[i::workers]:  # the order does not matter to these observers
            part(x)
    result = parts[0]
    for part in parts[1:]:
        assert merge_observers(result, part) is result
    want, got = whole.state_dict(), result.state_dict()
    assert want.keys() == got.keys()
    for key, value in want.items():
        np.testing.assert_array_equal(np.asarray(got[key]), np.asarray(value), err_msg=key)
    x = data[0]
    np.testing.assert_array_equal(convert_pt2e(result)(x), convert_pt2e(whole)(x))


def test_models_that_do_not_match_are_named():
    a = prepared()
    with pytest.raises(ValueError, match="same observer"):
        merge_observers(a, a)
    b = copy.deepcopy(a)
    a(batches(1)[0])
    with pytest.raises(ValueError, match="no observer 'activation_post_process"):
        merge_observers(b, convert_pt2e(a))
    with pytest.raises(ValueError, match="no observers"):
        merge_observers(a, a)
    with pytest.raises(ValueError, match="must be a GraphModule"):
        merge_observers(a, object())
